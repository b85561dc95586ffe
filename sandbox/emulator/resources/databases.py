"""RDS instances and proxies, DynamoDB tables, and ElastiCache replication groups and users."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_TABLE_ATTRIBUTE = {"name": "AttributeName", "type": "AttributeType"}


def _describe_instance(request: CreateRequest, instance: dict[str, Any]) -> dict[str, Any]:
    endpoint, secret = instance["Endpoint"], instance.get("MasterUserSecret")
    return {
        "resourceId": instance["DbiResourceId"],
        "identifier": instance["DBInstanceIdentifier"],
        "address": endpoint["Address"],
        "endpoint": f"{endpoint['Address']}:{endpoint['Port']}",
        "port": endpoint["Port"],
        "masterUserSecrets": [
            {"secretArn": secret["SecretArn"], "secretStatus": secret["SecretStatus"], "kmsKeyId": secret["KmsKeyId"]}
        ]
        if secret
        else [],
    }


def _describe_primary(request: CreateRequest, instance: dict[str, Any]) -> dict[str, Any]:
    moto_patches.set_database(request, instance["DBInstanceIdentifier"])
    return _describe_instance(request, instance)


def _take_modified(request: CreateRequest) -> dict[str, Any]:
    """Take the inputs that creation does not accept: a replica inherits the encryption, and the provider modifies the window."""
    for name in ("storageEncrypted", "maintenanceWindow"):
        request.take(name)
    return {}


def _read_replica(request: CreateRequest) -> ResourceType | None:
    return READ_REPLICA if request.peek("replicateSourceDb") else None


def _set_parameters(request: CreateRequest, group: dict[str, Any]) -> None:
    parameters = [{"applyMethod": "immediate", **item} for item in request.take("parameters") or []]
    if parameters:
        names = {"name": "ParameterName", "value": "ParameterValue"}
        body = request.part("rds.modify_db_parameter_group", "Parameters", parameters, names)
        request.call("rds.modify_db_parameter_group", DBParameterGroupName=group["DBParameterGroupName"], Parameters=body)


def _table_parameters(request: CreateRequest) -> dict[str, Any]:
    """Return the keys, indexes and encryption, which the API structures differently."""
    attributes, encryption = request.take("attributes"), request.take("serverSideEncryption")
    indexes = [
        {
            "IndexName": index["name"],
            "KeySchema": _key_schema(index["hashKey"], index["rangeKey"]),
            "Projection": {"ProjectionType": index["projectionType"]},
        }
        for index in request.take("globalSecondaryIndexes") or []
    ]
    return {
        "AttributeDefinitions": request.part("dynamodb.create_table", "AttributeDefinitions", attributes, _TABLE_ATTRIBUTE),
        "KeySchema": _key_schema(request.take("hashKey")),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        "SSESpecification": {"Enabled": encryption["enabled"], "SSEType": "KMS", "KMSMasterKeyId": encryption["kmsKeyArn"]},
    }


def _key_schema(*attributes: str) -> list[dict[str, str]]:
    """A partition key and an optional sort key."""
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(attributes, ("HASH", "RANGE"), strict=False)]


def _configure_table(request: CreateRequest, table: dict[str, Any]) -> None:
    """Set the time to live and point-in-time recovery. The API has separate calls for both."""
    name, ttl = table["TableName"], request.take("ttl")
    expiry = {"Enabled": ttl["enabled"], "AttributeName": ttl["attributeName"]}
    request.call("dynamodb.update_time_to_live", TableName=name, TimeToLiveSpecification=expiry)
    names = {"enabled": "PointInTimeRecoveryEnabled"}
    operation, member = "dynamodb.update_continuous_backups", "PointInTimeRecoverySpecification"
    recovery = request.part(operation, member, request.take("pointInTimeRecovery"), names)
    request.call(operation, {"TableName": name, member: recovery})


def _describe_replication_group(_request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    return {"primaryEndpointAddress": group["NodeGroups"][0]["PrimaryEndpoint"]["Address"]}


def _require_users(request: CreateRequest, _group: dict[str, Any]) -> None:
    for user in request.peek("userIds") or []:
        request.call("elasticache.describe_users", UserId=user)


def _validate_parameters(request: CreateRequest, _group: dict[str, Any]) -> None:
    names = {"name": "ParameterName", "value": "ParameterValue"}
    request.part("elasticache.modify_cache_parameter_group", "ParameterNameValues", request.take("parameters") or [], names)


_INSTANCE_NAMES = {
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
}
READ_REPLICA = ResourceType(
    call="rds.create_db_instance_read_replica",
    id="{DbiResourceId}",
    names={**_INSTANCE_NAMES, "replicateSourceDb": "SourceDBInstanceIdentifier"},
    prepare=_take_modified,
    finish=_describe_instance,
)

RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:rds/instance:Instance": ResourceType(
        call="rds.create_db_instance",
        id="{DbiResourceId}",
        names=_INSTANCE_NAMES,
        variant=_read_replica,
        finish=_describe_primary,
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
        # moto requires the list of secrets, which IAM authentication does not use, and does not store defaultAuthScheme.
        defaults={"auths": []},
    ),
    # AWS creates the target group "default" with the proxy, so only its connection pool is configured.
    "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": ResourceType(
        call="rds.modify_db_proxy_target_group",
        id="{dbProxyName}",
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
        finish=_validate_parameters,
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:parametergroup:{name}"},
        modelled="moto has no CreateCacheParameterGroup",
    ),
    # AWS returns engineVersion, parameterGroupName, securityGroupIds, subnetGroupName and maintenanceWindow with the member
    # clusters, which moto does not create.
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
    ),
}
