"""RDS instances and proxies, DynamoDB tables, and ElastiCache replication groups and users."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType

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
            {
                "secretArn": secret["SecretArn"],
                "secretStatus": secret["SecretStatus"],
                "kmsKeyId": secret["KmsKeyId"],
            }
        ]
        if secret
        else [],
    }


def _restore(request: CreateRequest) -> dict[str, Any]:
    """Create the database of a restore, because moto has no replicated automated backups. The name
    and the owner are those of the source, also if its region is lost. The data is restored
    separately into the local PostgreSQL server."""
    point = request.take("restoreToPointInTime")
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


def _created_from(request: CreateRequest) -> ResourceType | None:
    return RESTORED if request.peek("restoreToPointInTime") else None


def _replicate_backups(request: CreateRequest) -> Created:
    """Require the source, which is in another region, and return the ARN of the backups."""
    call, source = (
        "rds.start_db_instance_automated_backups_replication",
        str(request.peek("sourceDbInstanceArn")),
    )
    parameters = request.parameters(call, names={"retentionPeriod": "BackupRetentionPeriod"})
    request.check(call, parameters)
    region, identifier = source.split(":")[3], source.rpartition(":")[2]
    request.call("rds.describe_db_instances", DBInstanceIdentifier=identifier, in_region=region)
    return moto_patches.replicated_backups_arn(source, request.region), {}


def _modify_instance(request: ChangeRequest) -> dict[str, Any]:
    """Change the instance. All changes take effect immediately."""
    identifier = request.old.outputs["identifier"]
    changed = {name: request.peek(name) for name in request.unused_changes}
    call = "rds.modify_db_instance"
    names = {
        **_INSTANCE_NAMES,
        "enabledCloudwatchLogsExports": "",
        "performanceInsightsEnabled": "EnablePerformanceInsights",
    }
    logs = "enabledCloudwatchLogsExports"
    more: dict[str, Any] = {}
    if logs in changed:
        old, new = (
            set(request.old.registration.inputs.get(logs) or []),
            set(request.take(logs) or []),
        )
        more = {
            "CloudwatchLogsExportConfiguration": {
                "EnableLogTypes": sorted(new - old),
                "DisableLogTypes": sorted(old - new),
            }
        }
    others = set(request.registration.inputs) - set(changed)
    parameters = request.parameters(call, names=names, skip={*others, *PULUMI_ONLY})
    request.call(
        call, {**parameters, **more}, DBInstanceIdentifier=identifier, ApplyImmediately=True
    )
    return {}


def _delete_instance(request: ChangeRequest) -> None:
    inputs = request.old.registration.inputs
    final = (
        {}
        if inputs.get("skipFinalSnapshot")
        else {"FinalDBSnapshotIdentifier": inputs.get("finalSnapshotIdentifier")}
    )
    parameters = {
        "SkipFinalSnapshot": not final,
        **{name: value for name, value in final.items() if value},
    }
    request.call(
        "rds.delete_db_instance", parameters, DBInstanceIdentifier=request.old.outputs["identifier"]
    )


def _update_table(request: ChangeRequest) -> None:
    """Change the table. The time to live and point-in-time recovery have calls of their own."""
    name, sent = request.old.id, {}
    for key, member in (
        ("deletionProtectionEnabled", "DeletionProtectionEnabled"),
        ("billingMode", "BillingMode"),
    ):
        if key in request.unused_changes and (value := request.take(key)) is not None:
            sent[member] = value
    if sent:
        request.call("dynamodb.update_table", sent, TableName=name)
    if {"ttl", "pointInTimeRecovery"} & request.unused_changes:
        _configure_table(request, {"TableName": name})


def _set_parameters(request: CreateRequest, group: dict[str, Any]) -> None:
    parameters = [{"applyMethod": "immediate", **item} for item in request.take("parameters") or []]
    if parameters:
        names = {"name": "ParameterName", "value": "ParameterValue"}
        body = request.part("rds.modify_db_parameter_group", "Parameters", parameters, names)
        request.call(
            "rds.modify_db_parameter_group",
            DBParameterGroupName=group["DBParameterGroupName"],
            Parameters=body,
        )


def _update_parameters(request: ChangeRequest) -> None:
    """Set the parameters, and reset those that the program removed."""
    old = {row["name"] for row in request.old.registration.inputs.get("parameters") or []}
    new = {row["name"] for row in request.peek("parameters") or []}
    reset = [{"ParameterName": name, "ApplyMethod": "immediate"} for name in sorted(old - new)]
    if reset:
        request.call(
            "rds.reset_db_parameter_group", DBParameterGroupName=request.old.id, Parameters=reset
        )
    _set_parameters(request, {"DBParameterGroupName": request.old.id})


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
    request.part(
        "elasticache.modify_cache_parameter_group",
        "ParameterNameValues",
        request.take("parameters") or [],
        names,
    )


def _delete_user(request: ChangeRequest) -> None:
    """Delete the user and wait for it, as the provider does. moto completes a deletion when the
    resource is described.
    """
    request.call("elasticache.delete_user", UserId=request.old.id)
    request.call("elasticache.describe_users", UserId=request.old.id)


def _delete_replication_group(request: ChangeRequest) -> None:
    request.call("elasticache.delete_replication_group", ReplicationGroupId=request.old.id)
    moto_patches.complete_replication_group_deletion(request, request.old.id)


RESTORED = ResourceType(
    call="rds.create_db_instance",
    id="{DbiResourceId}",
    names=_INSTANCE_NAMES,
    prepare=_restore,
    finish=_describe_instance,
)

RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:rds/instance:Instance": ResourceType(
        call="rds.create_db_instance",
        id="{DbiResourceId}",
        names=_INSTANCE_NAMES,
        variant=_created_from,
        finish=_describe_instance,
        update=_modify_instance,
        delete=_delete_instance,
    ),
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": ResourceType(
        create=_replicate_backups,
        modelled="moto has no StartDBInstanceAutomatedBackupsReplication",
    ),
    "aws:rds/subnetGroup:SubnetGroup": ResourceType(
        call="rds.create_db_subnet_group",
        id="{DBSubnetGroupName}",
        outputs={"name": "{DBSubnetGroupName}"},
    ),
    "aws:rds/parameterGroup:ParameterGroup": ResourceType(
        call="rds.create_db_parameter_group",
        id="{DBParameterGroupName}",
        finish=_set_parameters,
        update=_update_parameters,
    ),
    "aws:rds/eventSubscription:EventSubscription": ResourceType(
        call="rds.create_event_subscription", id="{CustSubscriptionId}"
    ),
    "aws:dynamodb/table:Table": ResourceType(
        call="dynamodb.create_table",
        id="{TableName}",
        prepare=_table_parameters,
        finish=_configure_table,
        update=_update_table,
    ),
    "aws:elasticache/subnetGroup:SubnetGroup": ResourceType(
        call="elasticache.create_cache_subnet_group",
        id="{CacheSubnetGroupName}",
        delete=lambda request: moto_patches.delete_cache_subnet_group(request, request.old.id),
        outputs={"name": "{CacheSubnetGroupName}"},
    ),
    "aws:elasticache/user:User": ResourceType(
        call="elasticache.create_user", id="{UserId}", delete=_delete_user
    ),
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
    # AWS returns engineVersion, parameterGroupName, securityGroupIds, subnetGroupName and
    # maintenanceWindow with the member clusters, which moto does not create.
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
        delete=_delete_replication_group,
    ),
}
