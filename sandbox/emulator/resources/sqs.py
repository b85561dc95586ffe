"""SQS queues and their policies."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
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


def _create_queue(request: CreateRequest) -> Created:
    name = request.take("name") or request.registration.name
    attributes = {member: _text(request.take(prop)) for prop, member in _ATTRIBUTES.items() if request.peek(prop) is not None}
    tags: dict[str, Any] = {"tags": dict(request.tags)} if request.tags else {}
    url = request.call("sqs.create_queue", QueueName=name, Attributes=attributes, **tags)["QueueUrl"]
    return url, {"arn": request.arn("sqs", name), "name": name, "url": url}


def _text(value: Any) -> str:
    """SQS attributes are strings; Pulumi passes whole numbers as floats."""
    return str(int(value)) if isinstance(value, float) else str(value)


def _set_policy(request: CreateRequest) -> Created:
    url = request.take("queueUrl")
    request.call("sqs.set_queue_attributes", QueueUrl=url, Attributes={"Policy": request.take("policy")})
    return url, {}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sqs/queue:Queue": ResourceType(create=_create_queue),
    "aws:sqs/queuePolicy:QueuePolicy": ResourceType(create=_set_policy),
}
