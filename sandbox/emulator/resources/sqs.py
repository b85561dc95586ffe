"""SQS: queues and who may use them."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row

_ATTRIBUTES = {
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "redrivePolicy": "RedrivePolicy",
    "policy": "Policy",
}


def _queue(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("name") or make.registration.name
    attributes = {member: _text(make.take(prop)) for prop, member in _ATTRIBUTES.items() if make.peek(prop) is not None}
    tags: dict[str, Any] = {"tags": dict(make.tags)} if make.tags else {}
    url = make.call("sqs.create_queue", QueueName=name, Attributes=attributes, **tags)["QueueUrl"]
    return url, {"arn": f"arn:aws:sqs:{make.region}:{make.account}:{name}", "name": name, "url": url}


def _text(value: Any) -> str:
    """Every attribute of SQS is a string; a whole number of a program arrives as a float."""
    return str(int(value)) if isinstance(value, float) else str(value)


def _policy(make: Make) -> tuple[str, dict[str, Any]]:
    url = make.take("queueUrl")
    make.call("sqs.set_queue_attributes", QueueUrl=url, Attributes={"Policy": make.take("policy")})
    return url, {}


ROWS: dict[str, Row] = {
    "aws:sqs/queue:Queue": Row(make=_queue),
    "aws:sqs/queuePolicy:QueuePolicy": Row(make=_policy),
}
