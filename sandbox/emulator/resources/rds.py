"""RDS: instances, groups, proxies and event subscriptions."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _describe_instance(request: CreateRequest, instance: dict[str, Any]) -> dict[str, Any]:
    moto_patches.set_database(request, instance["DBInstanceIdentifier"])
    endpoint = instance.get("Endpoint") or {}
    secret = instance.get("MasterUserSecret")
    secrets = (
        [
            {
                "secretArn": secret["SecretArn"],
                "secretStatus": secret["SecretStatus"],
                "kmsKeyId": secret.get("KmsKeyId", ""),
            }
        ]
        if secret
        else []
    )
    return {
        "arn": instance["DBInstanceArn"],
        "resourceId": instance["DbiResourceId"],
        "identifier": instance["DBInstanceIdentifier"],
        "address": endpoint.get("Address", ""),
        "endpoint": f"{endpoint.get('Address', '')}:{endpoint.get('Port', '')}",
        "port": endpoint.get("Port", 0),
        "hostedZoneId": endpoint.get("HostedZoneId", "Z29XKXDKYMONMX"),
        "engineVersionActual": instance.get("EngineVersion", ""),
        "status": instance.get("DBInstanceStatus", "available"),
        "masterUserSecrets": secrets,
    }


def _set_parameters(request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    parameters = [{"applyMethod": "immediate", **item} for item in request.take("parameters") or []]
    if parameters:
        names = {"name": "ParameterName", "value": "ParameterValue"}
        body = request.part("rds.modify_db_parameter_group", "Parameters", parameters, names)
        request.call("rds.modify_db_parameter_group", DBParameterGroupName=group["DBParameterGroupName"], Parameters=body)
    return {"arn": group["DBParameterGroupArn"], "name": group["DBParameterGroupName"]}


def _set_default_auth(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """moto requires the list of secrets, which IAM authentication does not use."""
    parameters.setdefault("Auth", [])


def _configure_connection_pool(request: CreateRequest) -> Created:
    """The default target group exists with the proxy; only its connection pool is configured."""
    proxy = request.take("dbProxyName")
    operation = "rds.modify_db_proxy_target_group"
    body = request.part(operation, "ConnectionPoolConfig", request.take("connectionPoolConfig") or {})
    group = request.call(operation, DBProxyName=proxy, TargetGroupName="default", ConnectionPoolConfig=body)["DBProxyTargetGroup"]
    return proxy, {"arn": group["TargetGroupArn"], "name": group["TargetGroupName"]}


def _register_target(request: CreateRequest) -> Created:
    proxy, group, instance = request.take("dbProxyName"), request.take("targetGroupName"), request.take("dbInstanceIdentifier")
    parameters = {"DBProxyName": proxy, "TargetGroupName": group, "DBInstanceIdentifiers": [instance]}
    request.call("rds.register_db_proxy_targets", parameters)
    return f"{proxy}/{group}/RDS_INSTANCE/{instance}", {"type": "RDS_INSTANCE", "rdsResourceId": instance}


_DELETE_ONLY = {
    "skipFinalSnapshot": PULUMI_ONLY,
    "finalSnapshotIdentifier": PULUMI_ONLY,
    "deleteAutomatedBackups": PULUMI_ONLY,
    "applyImmediately": PULUMI_ONLY,
    "allowMajorVersionUpgrade": PULUMI_ONLY,
}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:rds/instance:Instance": ResourceType(
        call="rds.create_db_instance",
        result="DBInstance",
        id="{DbiResourceId}",
        finish=_describe_instance,
        names={
            "identifier": "DBInstanceIdentifier",
            "username": "MasterUsername",
            "password": "MasterUserPassword",
            "instanceClass": "DBInstanceClass",
            "parameterGroupName": "DBParameterGroupName",
            "backupWindow": "PreferredBackupWindow",
            "maintenanceWindow": "PreferredMaintenanceWindow",
            "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
            "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
            "performanceInsightsEnabled": "EnablePerformanceInsights",
            "caCertIdentifier": "CACertificateIdentifier",
        },
        ignored=_DELETE_ONLY,
    ),
    "aws:rds/subnetGroup:SubnetGroup": ResourceType(
        call="rds.create_db_subnet_group",
        result="DBSubnetGroup",
        id="{DBSubnetGroupName}",
        names={"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription"},
        outputs={"arn": "{DBSubnetGroupArn}", "name": "{DBSubnetGroupName}"},
    ),
    "aws:rds/parameterGroup:ParameterGroup": ResourceType(
        call="rds.create_db_parameter_group",
        result="DBParameterGroup",
        id="{DBParameterGroupName}",
        names={"name": "DBParameterGroupName", "family": "DBParameterGroupFamily"},
        finish=_set_parameters,
        handled=("parameters",),
        ignored={"skipDestroy": PULUMI_ONLY},
    ),
    "aws:rds/proxy:Proxy": ResourceType(
        call="rds.create_db_proxy",
        result="DBProxy",
        id="{DBProxyName}",
        names={"name": "DBProxyName", "auths": "Auth"},
        prepare=_set_default_auth,
        outputs={"arn": "{DBProxyArn}", "endpoint": "{Endpoint}"},
        dropped={"defaultAuthScheme": "moto supports authentication by secrets only"},
    ),
    "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": ResourceType(create=_configure_connection_pool),
    "aws:rds/proxyTarget:ProxyTarget": ResourceType(create=_register_target),
    "aws:rds/eventSubscription:EventSubscription": ResourceType(
        call="rds.create_event_subscription",
        result="EventSubscription",
        id="{CustSubscriptionId}",
        names={"name": "SubscriptionName", "snsTopic": "SnsTopicArn"},
        outputs={"arn": "{EventSubscriptionArn}"},
    ),
}
