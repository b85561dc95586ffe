"""SQS queues and their policies."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_ATTRIBUTES = {
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "redrivePolicy": "RedrivePolicy",
    "policy": "Policy",
}


def _queue_attributes(request: CreateRequest) -> dict[str, Any]:
    name = request.take("name") or request.registration.name
    return {"QueueName": name, "Attributes": request.attributes(_ATTRIBUTES)}


def _describe_queue(request: CreateRequest, queue: dict[str, Any]) -> dict[str, Any]:
    return {"arn": request.arn("sqs", request.sent["QueueName"]), "name": request.sent["QueueName"], "url": queue["QueueUrl"]}


def _policy_attribute(request: CreateRequest) -> dict[str, Any]:
    return {"Attributes": request.attributes({"policy": "Policy"})}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sqs/queue:Queue": ResourceType(
        call="sqs.create_queue", id="{QueueUrl}", prepare=_queue_attributes, finish=_describe_queue
    ),
    "aws:sqs/queuePolicy:QueuePolicy": ResourceType(call="sqs.set_queue_attributes", id="{queueUrl}", prepare=_policy_attribute),
}
