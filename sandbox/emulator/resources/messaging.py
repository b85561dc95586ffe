"""SNS topics and subscriptions, Slack channels, and SQS queues."""

from typing import Any

from sandbox.emulator.request import CreateRequest


def topic_policy(request: CreateRequest) -> dict[str, Any]:
    return {"AttributeName": "Policy", "AttributeValue": request.take("policy")}


def queue_policy(request: CreateRequest) -> dict[str, Any]:
    return {"Attributes": {"Policy": request.take("policy")}}
