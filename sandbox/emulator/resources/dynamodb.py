"""DynamoDB tables."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _set_table_parameters(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """Convert keys, indexes, encryption and streams, which the API structures differently."""
    parameters["AttributeDefinitions"] = [
        {"AttributeName": item["name"], "AttributeType": item["type"]} for item in request.take("attributes") or []
    ]
    parameters["KeySchema"] = _keys(request.take("hashKey"), request.take("rangeKey"))
    parameters.setdefault("BillingMode", "PROVISIONED")
    capacity = (request.take("readCapacity"), request.take("writeCapacity"))
    if parameters["BillingMode"] == "PROVISIONED":
        parameters["ProvisionedThroughput"] = {
            "ReadCapacityUnits": int(capacity[0] or 1),
            "WriteCapacityUnits": int(capacity[1] or 1),
        }
    indexes = [_index(request, item, parameters["BillingMode"]) for item in request.take("globalSecondaryIndexes") or []]
    if indexes:
        parameters["GlobalSecondaryIndexes"] = indexes
    encryption = request.take("serverSideEncryption")
    if encryption:
        parameters["SSESpecification"] = {"Enabled": bool(encryption.get("enabled"))}
        if encryption.get("kmsKeyArn"):
            parameters["SSESpecification"] |= {"SSEType": "KMS", "KMSMasterKeyId": encryption["kmsKeyArn"]}
    if request.take("streamEnabled"):
        parameters["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": request.take("streamViewType")}


def _index(request: CreateRequest, item: dict[str, Any], billing: str) -> dict[str, Any]:
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


def _configure_table(request: CreateRequest, table: dict[str, Any]) -> dict[str, Any]:
    name = table["TableName"]
    ttl = request.take("ttl")
    if ttl:
        body = {"Enabled": bool(ttl.get("enabled", True)), "AttributeName": ttl["attributeName"]}
        request.call("dynamodb.update_time_to_live", TableName=name, TimeToLiveSpecification=body)
    recovery = request.take("pointInTimeRecovery")
    if recovery:
        names = {"enabled": "PointInTimeRecoveryEnabled"}
        body = request.part("dynamodb.update_continuous_backups", "PointInTimeRecoverySpecification", recovery, names)
        request.call("dynamodb.update_continuous_backups", TableName=name, PointInTimeRecoverySpecification=body)
    return {
        "arn": table["TableArn"],
        "name": name,
        **({"streamArn": table["LatestStreamArn"]} if "LatestStreamArn" in table else {}),
    }


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:dynamodb/table:Table": ResourceType(
        call="dynamodb.create_table",
        result="TableDescription",
        id="{TableName}",
        names={"name": "TableName"},
        prepare=_set_table_parameters,
        finish=_configure_table,
        handled=(
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
