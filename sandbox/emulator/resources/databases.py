"""RDS instances and proxies, DynamoDB tables, and ElastiCache replication groups and users."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType, Setting, arn


def managed_secrets(_request: CreateRequest, instance: dict[str, Any]) -> dict[str, Any]:
    secret = instance.get("MasterUserSecret") or {}
    properties = {f"{name[:1].lower()}{name[1:]}": value for name, value in secret.items()}
    return {"masterUserSecrets": [properties] if properties else []}


def restored_database(request: CreateRequest) -> dict[str, Any]:
    """Create the database of a restore, because moto has no replicated automated backups. The name
    and the owner are those of the source, also if its region is lost. The data is restored
    separately into the local PostgreSQL server."""
    point = request.take("restoreToPointInTime")
    if not point:
        return {}
    names = {"sourceDbInstanceAutomatedBackupsArn": "SourceDBInstanceAutomatedBackupsArn"}
    operation = "rds.restore_db_instance_to_point_in_time"
    request.check(
        operation,
        {
            "TargetDBInstanceIdentifier": request.peek("identifier"),
            **request.part(operation, "", point, names),
        },
    )
    source = moto_patches.replicated_database(str(point["sourceDbInstanceAutomatedBackupsArn"]))
    if source is None:
        raise request.error(
            "property restoreToPointInTime: no replication in this emulator has this ARN."
        )
    return source


def replicate_backups(request: CreateRequest) -> Created:
    """Require the source, which is in another region, and return the ARN of the backups."""
    call = "rds.start_db_instance_automated_backups_replication"
    source = str(request.peek("sourceDbInstanceArn"))
    parameters = request.parameters(call)
    request.check(call, parameters)
    region, identifier = source.split(":")[3], source.rpartition(":")[2]
    request.call("rds.describe_db_instances", DBInstanceIdentifier=identifier, in_region=region)
    return moto_patches.replicated_backups_arn(source, request.region), {}


def modify_instance(request: ChangeRequest) -> None:
    identifier = request.old.outputs["identifier"]
    call, logs = "rds.modify_db_instance", "enabledCloudwatchLogsExports"
    others = set(request.registration.inputs) - request.unused_changes
    parameters = request.parameters(call, skip={*others, *PULUMI_ONLY})
    if logs in request.unused_changes:
        old = set(request.old.registration.inputs.get(logs) or [])
        new = set(request.take(logs) or [])
        parameters["CloudwatchLogsExportConfiguration"] = {
            "EnableLogTypes": sorted(new - old),
            "DisableLogTypes": sorted(old - new),
        }
    request.call(call, parameters, DBInstanceIdentifier=identifier, ApplyImmediately=True)


def delete_instance(request: ChangeRequest) -> None:
    inputs = request.old.registration.inputs
    skip, final = bool(inputs.get("skipFinalSnapshot")), inputs.get("finalSnapshotIdentifier")
    parameters: dict[str, Any] = {"SkipFinalSnapshot": skip}
    if final and not skip:
        parameters["FinalDBSnapshotIdentifier"] = final
    request.call(
        "rds.delete_db_instance", parameters, DBInstanceIdentifier=request.old.outputs["identifier"]
    )


def table_parameters(request: CreateRequest) -> dict[str, Any]:
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
        "AttributeDefinitions": request.part(
            "dynamodb.create_table", "AttributeDefinitions", attributes
        ),
        "KeySchema": _key_schema(request.take("hashKey")),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        "SSESpecification": {
            "Enabled": encryption["enabled"],
            "SSEType": "KMS",
            "KMSMasterKeyId": encryption["kmsKeyArn"],
        },
    }


def _key_schema(*attributes: str) -> list[dict[str, str]]:
    """A partition key and an optional sort key."""
    return [
        {"AttributeName": name, "KeyType": kind}
        for name, kind in zip(attributes, ("HASH", "RANGE"), strict=False)
    ]


def require_users(request: CreateRequest, _group: dict[str, Any]) -> None:
    for user in request.peek("userIds") or []:
        request.call("elasticache.describe_users", UserId=user)


def delete_subnet_group(request: ChangeRequest) -> None:
    """moto has no DeleteCacheSubnetGroup."""
    moto_patches.remove(request, "elasticache", "cache_subnet_groups", request.old.id)


def delete_replication_group(request: ChangeRequest) -> None:
    request.call("elasticache.delete_replication_group", ReplicationGroupId=request.old.id)
    # moto keeps it in the state "deleting".
    moto_patches.remove(request, "elasticache", "replication_groups", request.old.id)


TYPES = {
    "rds.Instance": ResourceType(
        "rds.create_db_instance",
        "{DbiResourceId}",
        prepare=restored_database,
        finish=managed_secrets,
        update=modify_instance,
        delete=delete_instance,
        outputs={
            "resourceId": "{DbiResourceId}",
            "identifier": "{DBInstanceIdentifier}",
            "address": "{Endpoint[Address]}",
            "endpoint": "{Endpoint[Address]}:{Endpoint[Port]}",
            "port": "{Endpoint[Port]}",
        },
        names={
            "username": "MasterUsername",
            "instanceClass": "DBInstanceClass",
            "parameterGroupName": "DBParameterGroupName",
            "backupWindow": "PreferredBackupWindow",
            "maintenanceWindow": "PreferredMaintenanceWindow",
            "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
            "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
            "performanceInsightsEnabled": "EnablePerformanceInsights",
            "caCertIdentifier": "CACertificateIdentifier",
        },
    ),
    "rds.InstanceAutomatedBackupsReplication": ResourceType(
        names={"retentionPeriod": "BackupRetentionPeriod"},
        create=replicate_backups,
        modelled="moto has no StartDBInstanceAutomatedBackupsReplication",
    ),
    "rds.SubnetGroup": ResourceType(
        "rds.create_db_subnet_group", "{DBSubnetGroupName}", outputs={"name": "{DBSubnetGroupName}"}
    ),
    "rds.ParameterGroup": ResourceType(
        "rds.create_db_parameter_group",
        "{DBParameterGroupName}",
        settings=(
            Setting(
                "rds.modify_db_parameter_group",
                ["parameters"],
                names={"name": "ParameterName", "value": "ParameterValue"},
            ),
        ),
    ),
    "rds.EventSubscription": ResourceType("rds.create_event_subscription", "{CustSubscriptionId}"),
    "dynamodb.Table": ResourceType(
        "dynamodb.create_table",
        "{TableName}",
        names={"name": "AttributeName", "type": "AttributeType"},
        prepare=table_parameters,
        settings=(
            Setting(
                "dynamodb.update_table", ["deletionProtectionEnabled", "billingMode"], created=True
            ),
            Setting(
                "dynamodb.update_time_to_live", ["ttl"], names={"ttl": "TimeToLiveSpecification"}
            ),
            Setting(
                "dynamodb.update_continuous_backups",
                ["pointInTimeRecovery"],
                names={
                    "pointInTimeRecovery": "PointInTimeRecoverySpecification",
                    "enabled": "PointInTimeRecoveryEnabled",
                },
            ),
        ),
    ),
    "elasticache.SubnetGroup": ResourceType(
        "elasticache.create_cache_subnet_group",
        "{CacheSubnetGroupName}",
        outputs={"name": "{CacheSubnetGroupName}"},
        delete=delete_subnet_group,
    ),
    # moto completes a deletion when the resource is described.
    "elasticache.User": ResourceType(
        "elasticache.create_user",
        "{UserId}",
        delete=["elasticache.delete_user", "elasticache.describe_users"],
    ),
    "elasticache.UserGroup": ResourceType(
        "elasticache.create_user_group",
        "{userGroupId}",
        outputs=arn("elasticache", "usergroup:{userGroupId}"),
        finish=require_users,
        modelled="moto has no CreateUserGroup",
    ),
    "elasticache.ParameterGroup": ResourceType(
        "elasticache.create_cache_parameter_group",
        "{name}",
        outputs=arn("elasticache", "parametergroup:{name}"),
        modelled="moto has no CreateCacheParameterGroup",
        settings=(
            Setting(
                "elasticache.modify_cache_parameter_group",
                ["parameters"],
                names={
                    "name": "ParameterName",
                    "value": "ParameterValue",
                    "parameters": "ParameterNameValues",
                },
            ),
        ),
    ),
    # AWS returns engineVersion, parameterGroupName, securityGroupIds, subnetGroupName and
    # maintenanceWindow with the member clusters, which moto does not create.
    "elasticache.ReplicationGroup": ResourceType(
        "elasticache.create_replication_group",
        "{ReplicationGroupId}",
        outputs={"primaryEndpointAddress": "{NodeGroups[0][PrimaryEndpoint][Address]}"},
        delete=delete_replication_group,
        names={
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
        },
    ),
}
