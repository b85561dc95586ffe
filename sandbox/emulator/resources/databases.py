"""RDS instances and proxies, DynamoDB tables, and ElastiCache replication groups and users."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType, Setting

_INSTANCE_NAMES = {
    "username": "MasterUsername",
    "instanceClass": "DBInstanceClass",
    "parameterGroupName": "DBParameterGroupName",
    "backupWindow": "PreferredBackupWindow",
    "maintenanceWindow": "PreferredMaintenanceWindow",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "performanceInsightsEnabled": "EnablePerformanceInsights",
    "caCertIdentifier": "CACertificateIdentifier",
}
_TABLE_ATTRIBUTE = {"name": "AttributeName", "type": "AttributeType"}
_PARAMETER = {"name": "ParameterName", "value": "ParameterValue"}


def _managed_secrets(_request: CreateRequest, instance: dict[str, Any]) -> dict[str, Any]:
    secret = instance.get("MasterUserSecret") or {}
    properties = {f"{name[:1].lower()}{name[1:]}": value for name, value in secret.items()}
    return {"masterUserSecrets": [properties] if properties else []}


def _restored(request: CreateRequest) -> dict[str, Any]:
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


def _replicate_backups(request: CreateRequest) -> Created:
    """Require the source, which is in another region, and return the ARN of the backups."""
    call = "rds.start_db_instance_automated_backups_replication"
    source = str(request.peek("sourceDbInstanceArn"))
    parameters = request.parameters(call, names={"retentionPeriod": "BackupRetentionPeriod"})
    request.check(call, parameters)
    region, identifier = source.split(":")[3], source.rpartition(":")[2]
    request.call("rds.describe_db_instances", DBInstanceIdentifier=identifier, in_region=region)
    return moto_patches.replicated_backups_arn(source, request.region), {}


def _modify_instance(request: ChangeRequest) -> None:
    identifier = request.old.outputs["identifier"]
    call, logs = "rds.modify_db_instance", "enabledCloudwatchLogsExports"
    others = set(request.registration.inputs) - request.unused_changes
    parameters = request.parameters(call, names=_INSTANCE_NAMES, skip={*others, *PULUMI_ONLY})
    if logs in request.unused_changes:
        old = set(request.old.registration.inputs.get(logs) or [])
        new = set(request.take(logs) or [])
        parameters["CloudwatchLogsExportConfiguration"] = {
            "EnableLogTypes": sorted(new - old),
            "DisableLogTypes": sorted(old - new),
        }
    request.call(call, parameters, DBInstanceIdentifier=identifier, ApplyImmediately=True)


def _delete_instance(request: ChangeRequest) -> None:
    inputs = request.old.registration.inputs
    skip, final = bool(inputs.get("skipFinalSnapshot")), inputs.get("finalSnapshotIdentifier")
    parameters: dict[str, Any] = {"SkipFinalSnapshot": skip}
    if final and not skip:
        parameters["FinalDBSnapshotIdentifier"] = final
    request.call(
        "rds.delete_db_instance", parameters, DBInstanceIdentifier=request.old.outputs["identifier"]
    )


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
        "AttributeDefinitions": request.part(
            "dynamodb.create_table", "AttributeDefinitions", attributes, _TABLE_ATTRIBUTE
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


def _require_users(request: CreateRequest, _group: dict[str, Any]) -> None:
    for user in request.peek("userIds") or []:
        request.call("elasticache.describe_users", UserId=user)


def _delete_replication_group(request: ChangeRequest) -> None:
    request.call("elasticache.delete_replication_group", ReplicationGroupId=request.old.id)
    # moto keeps it in the state "deleting".
    moto_patches.remove(request, "elasticache", "replication_groups", request.old.id)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "rds.Instance": ResourceType(
        "rds.create_db_instance",
        "{DbiResourceId}",
        names=_INSTANCE_NAMES,
        prepare=_restored,
        finish=_managed_secrets,
        outputs={
            "resourceId": "{DbiResourceId}",
            "identifier": "{DBInstanceIdentifier}",
            "address": "{Endpoint[Address]}",
            "endpoint": "{Endpoint[Address]}:{Endpoint[Port]}",
            "port": "{Endpoint[Port]}",
        },
        update=_modify_instance,
        delete=_delete_instance,
    ),
    "rds.InstanceAutomatedBackupsReplication": ResourceType(
        create=_replicate_backups, modelled="moto has no StartDBInstanceAutomatedBackupsReplication"
    ),
    "rds.SubnetGroup": ResourceType(
        "rds.create_db_subnet_group", "{DBSubnetGroupName}", outputs={"name": "{DBSubnetGroupName}"}
    ),
    "rds.ParameterGroup": ResourceType(
        "rds.create_db_parameter_group",
        "{DBParameterGroupName}",
        settings=(Setting("rds.modify_db_parameter_group", ("parameters",), _PARAMETER),),
    ),
    "rds.EventSubscription": ResourceType("rds.create_event_subscription", "{CustSubscriptionId}"),
    "dynamodb.Table": ResourceType(
        "dynamodb.create_table",
        "{TableName}",
        prepare=_table_parameters,
        settings=(
            Setting(
                "dynamodb.update_table", ("deletionProtectionEnabled", "billingMode"), created=True
            ),
            Setting("dynamodb.update_time_to_live", ("ttl",), {"ttl": "TimeToLiveSpecification"}),
            Setting(
                "dynamodb.update_continuous_backups",
                ("pointInTimeRecovery",),
                {
                    "pointInTimeRecovery": "PointInTimeRecoverySpecification",
                    "enabled": "PointInTimeRecoveryEnabled",
                },
            ),
        ),
    ),
    "elasticache.SubnetGroup": ResourceType(
        "elasticache.create_cache_subnet_group",
        "{CacheSubnetGroupName}",
        # moto has no DeleteCacheSubnetGroup.
        delete=lambda request: moto_patches.remove(
            request, "elasticache", "cache_subnet_groups", request.old.id
        ),
        outputs={"name": "{CacheSubnetGroupName}"},
    ),
    "elasticache.User": ResourceType(
        "elasticache.create_user",
        "{UserId}",
        # moto completes a deletion when the resource is described.
        delete=("elasticache.delete_user", "elasticache.describe_users"),
    ),
    "elasticache.UserGroup": ResourceType(
        "elasticache.create_user_group",
        "{userGroupId}",
        finish=_require_users,
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:usergroup:{userGroupId}"},
        modelled="moto has no CreateUserGroup",
    ),
    "elasticache.ParameterGroup": ResourceType(
        "elasticache.create_cache_parameter_group",
        "{name}",
        settings=(
            Setting(
                "elasticache.modify_cache_parameter_group",
                ("parameters",),
                {**_PARAMETER, "parameters": "ParameterNameValues"},
            ),
        ),
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:parametergroup:{name}"},
        modelled="moto has no CreateCacheParameterGroup",
    ),
    # AWS returns engineVersion, parameterGroupName, securityGroupIds, subnetGroupName and
    # maintenanceWindow with the member clusters, which moto does not create.
    "elasticache.ReplicationGroup": ResourceType(
        "elasticache.create_replication_group",
        "{ReplicationGroupId}",
        names={
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
        },
        delete=_delete_replication_group,
        outputs={"primaryEndpointAddress": "{NodeGroups[0][PrimaryEndpoint][Address]}"},
    ),
}
