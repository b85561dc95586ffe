"""RDS: instances, groups, proxies and event subscriptions."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _describe_instance(request: CreateRequest, instance: dict[str, Any]) -> dict[str, Any]:
    moto_patches.set_database(request, instance["DBInstanceIdentifier"])
    endpoint = instance.get("Endpoint") or {}
    address, port = endpoint.get("Address", ""), endpoint.get("Port", "")
    outputs = {
        "resourceId": instance["DbiResourceId"],
        "identifier": instance["DBInstanceIdentifier"],
        "address": address,
        "endpoint": f"{address}:{port}",
        "port": port or 0,
        "hostedZoneId": endpoint.get("HostedZoneId", "Z29XKXDKYMONMX"),
        "engineVersionActual": instance.get("EngineVersion", ""),
        "status": instance.get("DBInstanceStatus", "available"),
        "masterUserSecrets": [],
    }
    if secret := instance.get("MasterUserSecret"):
        key = secret.get("KmsKeyId", "")
        row = {"secretArn": secret["SecretArn"], "secretStatus": secret["SecretStatus"], "kmsKeyId": key}
        outputs["masterUserSecrets"] = [row]
    return outputs


def _set_parameters(request: CreateRequest, group: dict[str, Any]) -> None:
    parameters = [{"applyMethod": "immediate", **item} for item in request.take("parameters") or []]
    if parameters:
        names = {"name": "ParameterName", "value": "ParameterValue"}
        body = request.part("rds.modify_db_parameter_group", "Parameters", parameters, names)
        request.call("rds.modify_db_parameter_group", DBParameterGroupName=group["DBParameterGroupName"], Parameters=body)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:rds/instance:Instance": ResourceType(
        call="rds.create_db_instance",
        id="{DbiResourceId}",
        names={
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
        finish=_describe_instance,
    ),
    "aws:rds/subnetGroup:SubnetGroup": ResourceType(
        call="rds.create_db_subnet_group", id="{DBSubnetGroupName}", outputs={"name": "{DBSubnetGroupName}"}
    ),
    "aws:rds/parameterGroup:ParameterGroup": ResourceType(
        call="rds.create_db_parameter_group", id="{DBParameterGroupName}", finish=_set_parameters
    ),
    "aws:rds/proxy:Proxy": ResourceType(
        call="rds.create_db_proxy",
        id="{DBProxyName}",
        defaults={"auths": []},  # moto requires the list of secrets, which IAM authentication does not use
        dropped={"defaultAuthScheme": "moto supports authentication by secrets only"},
    ),
    # The target group "default" exists with the proxy: only its connection pool is configured.
    "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": ResourceType(
        call="rds.modify_db_proxy_target_group",
        id="{dbProxyName}",
        defaults={"connectionPoolConfig": {}},
        prepare=lambda _request: {"TargetGroupName": "default"},
        outputs={"name": "{TargetGroupName}"},
    ),
    "aws:rds/proxyTarget:ProxyTarget": ResourceType(
        call="rds.register_db_proxy_targets",
        id="{dbProxyName}/{targetGroupName}/RDS_INSTANCE/{dbInstanceIdentifier}",
        outputs={"type": "RDS_INSTANCE", "rdsResourceId": "{dbInstanceIdentifier}"},
    ),
    "aws:rds/eventSubscription:EventSubscription": ResourceType(call="rds.create_event_subscription", id="{CustSubscriptionId}"),
}
