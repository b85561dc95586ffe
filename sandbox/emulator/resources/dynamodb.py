"""DynamoDB tables."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_ATTRIBUTE = {"name": "AttributeName", "type": "AttributeType"}


def _table_parameters(request: CreateRequest) -> dict[str, Any]:
    """Keys, indexes, encryption and streams, which the API structures differently."""
    provisioned = request.peek("billingMode", "PROVISIONED") == "PROVISIONED"
    capacity = request.take("readCapacity"), request.take("writeCapacity")
    parameters = {
        "AttributeDefinitions": request.part(
            "dynamodb.create_table", "AttributeDefinitions", request.take("attributes") or [], _ATTRIBUTE
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


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:dynamodb/table:Table": ResourceType(
        call="dynamodb.create_table",
        id="{TableName}",
        defaults={"billingMode": "PROVISIONED"},
        prepare=_table_parameters,
        finish=_configure_table,
    ),
}
