"""RDS instances and proxies, DynamoDB tables, and ElastiCache replication groups and users."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_TABLE_ATTRIBUTE = {"name": "AttributeName", "type": "AttributeType"}


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


def _table_parameters(request: CreateRequest) -> dict[str, Any]:
    """Keys, indexes, encryption and streams, which the API structures differently."""
    provisioned = request.peek("billingMode", "PROVISIONED") == "PROVISIONED"
    capacity = request.take("readCapacity"), request.take("writeCapacity")
    parameters = {
        "AttributeDefinitions": request.part(
            "dynamodb.create_table", "AttributeDefinitions", request.take("attributes") or [], _TABLE_ATTRIBUTE
        ),
        "KeySchema": _keys(request.take("hashKey"), request.take("rangeKey")),
        **(_throughput(*capacity) if provisioned else {}),
    }
    if indexes := [_index(item, provisioned) for item in request.take("globalSecondaryIndexes") or []]:
        parameters["GlobalSecondaryIndexes"] = indexes
    if encryption := request.take("serverSideEncryption"):
        key = encryption.get("kmsKeyArn")
        by_kms = {"SSEType": "KMS", "KMSMasterKeyId": key} if key else {}
        parameters["SSESpecification"] = {"Enabled": bool(encryption.get("enabled")), **by_kms}
    if request.take("streamEnabled"):
        parameters["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": request.take("streamViewType")}
    return parameters


def _index(item: dict[str, Any], provisioned: bool) -> dict[str, Any]:
    attributes = {"NonKeyAttributes": item["nonKeyAttributes"]} if item.get("nonKeyAttributes") else {}
    return {
        "IndexName": item["name"],
        "KeySchema": _keys(item["hashKey"], item.get("rangeKey")),
        "Projection": {"ProjectionType": item["projectionType"], **attributes},
        **(_throughput(item.get("readCapacity"), item.get("writeCapacity")) if provisioned else {}),
    }


def _throughput(read: Any, write: Any) -> dict[str, Any]:
    return {"ProvisionedThroughput": {"ReadCapacityUnits": int(read or 1), "WriteCapacityUnits": int(write or 1)}}


def _keys(partition: str, sort: str | None) -> list[dict[str, str]]:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": sort, "KeyType": "RANGE"}] if sort else keys


def _configure_table(request: CreateRequest, table: dict[str, Any]) -> dict[str, Any]:
    name = table["TableName"]
    if ttl := request.take("ttl"):
        body = {"Enabled": bool(ttl.get("enabled", True)), "AttributeName": ttl["attributeName"]}
        request.call("dynamodb.update_time_to_live", TableName=name, TimeToLiveSpecification=body)
    if recovery := request.take("pointInTimeRecovery"):
        names = {"enabled": "PointInTimeRecoveryEnabled"}
        body = request.part("dynamodb.update_continuous_backups", "PointInTimeRecoverySpecification", recovery, names)
        request.call("dynamodb.update_continuous_backups", TableName=name, PointInTimeRecoverySpecification=body)
    return {"streamArn": table["LatestStreamArn"]} if "LatestStreamArn" in table else {}


def _describe_replication_group(_request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    node = group["NodeGroups"][0]
    outputs = {"memberClusters": group.get("MemberClusters", [])}
    if "PrimaryEndpoint" in node:
        address = node["PrimaryEndpoint"]["Address"]
        reader = node.get("ReaderEndpoint", {}).get("Address") or address.replace("master.", "replica.", 1)
        outputs |= {"primaryEndpointAddress": address, "readerEndpointAddress": reader}
    if "ConfigurationEndpoint" in group:
        outputs["configurationEndpointAddress"] = group["ConfigurationEndpoint"]["Address"]
    return outputs


def _require_users(request: CreateRequest, _group: dict[str, Any]) -> None:
    for user in request.peek("userIds") or []:
        request.call("elasticache.describe_users", UserId=user)


def _validate_parameters(request: CreateRequest, _group: dict[str, Any]) -> None:
    names = {"name": "ParameterName", "value": "ParameterValue"}
    request.part("elasticache.modify_cache_parameter_group", "ParameterNameValues", request.take("parameters") or [], names)


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
    "aws:dynamodb/table:Table": ResourceType(
        call="dynamodb.create_table",
        id="{TableName}",
        defaults={"billingMode": "PROVISIONED"},
        prepare=_table_parameters,
        finish=_configure_table,
    ),
    "aws:elasticache/subnetGroup:SubnetGroup": ResourceType(
        call="elasticache.create_cache_subnet_group",
        id="{CacheSubnetGroupName}",
        outputs={"name": "{CacheSubnetGroupName}"},
    ),
    "aws:elasticache/user:User": ResourceType(call="elasticache.create_user", id="{UserId}"),
    "aws:elasticache/userGroup:UserGroup": ResourceType(
        call="elasticache.create_user_group",
        id="{userGroupId}",
        finish=_require_users,
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:usergroup:{userGroupId}"},
        modelled="moto has no CreateUserGroup",
    ),
    "aws:elasticache/parameterGroup:ParameterGroup": ResourceType(
        call="elasticache.create_cache_parameter_group",
        id="{name}",
        defaults={"description": "Managed by Pulumi"},
        finish=_validate_parameters,
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:parametergroup:{name}"},
        modelled="moto has no CreateCacheParameterGroup",
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": ResourceType(
        call="elasticache.create_replication_group",
        id="{ReplicationGroupId}",
        names={
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
        },
        finish=_describe_replication_group,
        dropped=dict.fromkeys(
            ("engineVersion", "parameterGroupName", "securityGroupIds", "subnetGroupName", "maintenanceWindow"),
            "AWS shows it on the member clusters, and moto makes no clusters for a replication group",
        ),
    ),
}
