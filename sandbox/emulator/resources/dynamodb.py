"""DynamoDB tables."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


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


ROWS: dict[str, Row] = {
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
