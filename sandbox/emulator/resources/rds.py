"""RDS: instances, groups, proxies and event subscriptions."""

from typing import Any

from sandbox.emulator import moto_state
from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _instance_details(make: Make, instance: dict[str, Any]) -> dict[str, Any]:
    moto_state.database(make, instance)
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


def _parameters(make: Make, group: dict[str, Any]) -> dict[str, Any]:
    wanted = [{"applyMethod": "immediate", **item} for item in make.take("parameters") or []]
    if wanted:
        names = {"name": "ParameterName", "value": "ParameterValue"}
        body = make.part("rds.modify_db_parameter_group", "Parameters", wanted, names)
        make.call("rds.modify_db_parameter_group", DBParameterGroupName=group["DBParameterGroupName"], Parameters=body)
    return {"arn": group["DBParameterGroupArn"], "name": group["DBParameterGroupName"]}


def _proxy(make: Make, parameters: dict[str, Any]) -> None:
    """moto reads the list of secrets that IAM sign-in does without."""
    parameters.setdefault("Auth", [])


def _pool(make: Make) -> tuple[str, dict[str, Any]]:
    """Every proxy has this group from the start; only how it pools is set."""
    proxy = make.take("dbProxyName")
    operation = "rds.modify_db_proxy_target_group"
    body = make.part(operation, "ConnectionPoolConfig", make.take("connectionPoolConfig") or {})
    group = make.call(operation, DBProxyName=proxy, TargetGroupName="default", ConnectionPoolConfig=body)["DBProxyTargetGroup"]
    return proxy, {"arn": group["TargetGroupArn"], "name": group["TargetGroupName"]}


def _target(make: Make) -> tuple[str, dict[str, Any]]:
    proxy, group, instance = make.take("dbProxyName"), make.take("targetGroupName"), make.take("dbInstanceIdentifier")
    request = {"DBProxyName": proxy, "TargetGroupName": group, "DBInstanceIdentifiers": [instance]}
    make.call("rds.register_db_proxy_targets", request)
    return f"{proxy}/{group}/RDS_INSTANCE/{instance}", {"type": "RDS_INSTANCE", "rdsResourceId": instance}


_DELETE_ONLY = {
    "skipFinalSnapshot": HOW_PULUMI_WORKS,
    "finalSnapshotIdentifier": HOW_PULUMI_WORKS,
    "deleteAutomatedBackups": HOW_PULUMI_WORKS,
    "applyImmediately": HOW_PULUMI_WORKS,
    "allowMajorVersionUpgrade": HOW_PULUMI_WORKS,
}


ROWS: dict[str, Row] = {
    "aws:rds/instance:Instance": Row(
        call="rds.create_db_instance",
        reply="DBInstance",
        id="{DbiResourceId}",
        then=_instance_details,
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
    "aws:rds/subnetGroup:SubnetGroup": Row(
        call="rds.create_db_subnet_group",
        reply="DBSubnetGroup",
        id="{DBSubnetGroupName}",
        names={"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription"},
        outputs={"arn": "{DBSubnetGroupArn}", "name": "{DBSubnetGroupName}"},
    ),
    "aws:rds/parameterGroup:ParameterGroup": Row(
        call="rds.create_db_parameter_group",
        reply="DBParameterGroup",
        id="{DBParameterGroupName}",
        names={"name": "DBParameterGroupName", "family": "DBParameterGroupFamily"},
        then=_parameters,
        by_hand=("parameters",),
        ignored={"skipDestroy": HOW_PULUMI_WORKS},
    ),
    "aws:rds/proxy:Proxy": Row(
        call="rds.create_db_proxy",
        reply="DBProxy",
        id="{DBProxyName}",
        names={"name": "DBProxyName", "auths": "Auth"},
        shape=_proxy,
        outputs={"arn": "{DBProxyArn}", "endpoint": "{Endpoint}"},
        dropped={"defaultAuthScheme": "moto knows sign-in by secrets alone"},
    ),
    "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": Row(make=_pool),
    "aws:rds/proxyTarget:ProxyTarget": Row(make=_target),
    "aws:rds/eventSubscription:EventSubscription": Row(
        call="rds.create_event_subscription",
        reply="EventSubscription",
        id="{CustSubscriptionId}",
        names={"name": "SubscriptionName", "snsTopic": "SnsTopicArn"},
        outputs={"arn": "{EventSubscriptionArn}"},
    ),
}
