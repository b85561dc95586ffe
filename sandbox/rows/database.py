"""RDS and DynamoDB."""

from typing import Any

from sandbox.rows import kept
from sandbox.rows.make import Make
from sandbox.rows.row import HOW_PULUMI_WORKS, Row


def _instance_details(make: Make, instance: dict[str, Any]) -> dict[str, Any]:
    kept.database(make, instance)
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


def _table(make: Make, parameters: dict[str, Any]) -> None:
    """Keys, indexes, encryption and streams have another form in the API than in the provider."""
    parameters["AttributeDefinitions"] = [
        {"AttributeName": item["name"], "AttributeType": item["type"]} for item in make.take("attributes") or []
    ]
    parameters["KeySchema"] = _keys(make.take("hashKey"), make.take("rangeKey"))
    parameters.setdefault("BillingMode", "PROVISIONED")
    capacity = (make.take("readCapacity"), make.take("writeCapacity"))
    if parameters["BillingMode"] == "PROVISIONED":
        parameters["ProvisionedThroughput"] = {
            "ReadCapacityUnits": int(capacity[0] or 1),
            "WriteCapacityUnits": int(capacity[1] or 1),
        }
    indexes = [_index(make, item, parameters["BillingMode"]) for item in make.take("globalSecondaryIndexes") or []]
    if indexes:
        parameters["GlobalSecondaryIndexes"] = indexes
    encryption = make.take("serverSideEncryption")
    if encryption:
        parameters["SSESpecification"] = {"Enabled": bool(encryption.get("enabled"))}
        if encryption.get("kmsKeyArn"):
            parameters["SSESpecification"] |= {"SSEType": "KMS", "KMSMasterKeyId": encryption["kmsKeyArn"]}
    if make.take("streamEnabled"):
        parameters["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": make.take("streamViewType")}


def _index(make: Make, item: dict[str, Any], billing: str) -> dict[str, Any]:
    projection = {"ProjectionType": item["projectionType"]}
    if item.get("nonKeyAttributes"):
        projection["NonKeyAttributes"] = item["nonKeyAttributes"]
    index = {
        "IndexName": item["name"],
        "KeySchema": _keys(item["hashKey"], item.get("rangeKey")),
        "Projection": projection,
    }
    if billing == "PROVISIONED":
        units = {
            "ReadCapacityUnits": int(item.get("readCapacity") or 1),
            "WriteCapacityUnits": int(item.get("writeCapacity") or 1),
        }
        index["ProvisionedThroughput"] = units
    return index


def _keys(partition: str, sort: str | None) -> list[dict[str, str]]:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": sort, "KeyType": "RANGE"}] if sort else keys


def _table_details(make: Make, table: dict[str, Any]) -> dict[str, Any]:
    name = table["TableName"]
    ttl = make.take("ttl")
    if ttl:
        body = {"Enabled": bool(ttl.get("enabled", True)), "AttributeName": ttl["attributeName"]}
        make.call("dynamodb.update_time_to_live", TableName=name, TimeToLiveSpecification=body)
    recovery = make.take("pointInTimeRecovery")
    if recovery:
        names = {"enabled": "PointInTimeRecoveryEnabled"}
        body = make.part("dynamodb.update_continuous_backups", "PointInTimeRecoverySpecification", recovery, names)
        make.call("dynamodb.update_continuous_backups", TableName=name, PointInTimeRecoverySpecification=body)
    return {
        "arn": table["TableArn"],
        "name": name,
        **({"streamArn": table["LatestStreamArn"]} if "LatestStreamArn" in table else {}),
    }


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
    "aws:dynamodb/table:Table": Row(
        call="dynamodb.create_table",
        reply="TableDescription",
        id="{TableName}",
        names={"name": "TableName"},
        shape=_table,
        then=_table_details,
        by_hand=(
            "attributes",
            "hashKey",
            "rangeKey",
            "globalSecondaryIndexes",
            "serverSideEncryption",
            "ttl",
            "pointInTimeRecovery",
            "streamEnabled",
            "streamViewType",
            "readCapacity",
            "writeCapacity",
        ),
    ),
}
