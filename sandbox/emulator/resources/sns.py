"""SNS topics, their policies and subscriptions."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _create_topic(request: CreateRequest) -> Created:
    attributes = {
        member: str(request.peek(name)).lower() if isinstance(request.peek(name), bool) else str(request.peek(name))
        for name, member in _TOPIC_ATTRIBUTES.items()
        if request.take(name) is not None
    }
    name = request.take("name") or request.registration.name
    tags: dict[str, Any] = {"Tags": request.tag_list()} if request.tags else {}
    arn = request.call("sns.create_topic", Name=name, Attributes=attributes, **tags)["TopicArn"]
    return arn, {"arn": arn, "name": name, "owner": request.account}


_TOPIC_ATTRIBUTES = {
    "kmsMasterKeyId": "KmsMasterKeyId",
    "displayName": "DisplayName",
    "policy": "Policy",
    "deliveryPolicy": "DeliveryPolicy",
    "fifoTopic": "FifoTopic",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "signatureVersion": "SignatureVersion",
    "tracingConfig": "TracingConfig",
}


def _set_topic_policy(request: CreateRequest) -> Created:
    arn = request.take("arn")
    request.call("sns.set_topic_attributes", TopicArn=arn, AttributeName="Policy", AttributeValue=request.take("policy"))
    return arn, {"owner": request.account}


def _subscribe(request: CreateRequest) -> Created:
    attributes = {
        member: str(request.peek(name)).lower() if isinstance(request.peek(name), bool) else str(request.peek(name))
        for name, member in (
            ("rawMessageDelivery", "RawMessageDelivery"),
            ("filterPolicy", "FilterPolicy"),
            ("redrivePolicy", "RedrivePolicy"),
        )
        if request.take(name) is not None
    }
    answer = request.call(
        "sns.subscribe",
        TopicArn=request.take("topic"),
        Protocol=request.take("protocol"),
        Endpoint=request.take("endpoint"),
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return answer["SubscriptionArn"], {"arn": answer["SubscriptionArn"], "ownerId": request.account}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sns/topic:Topic": ResourceType(create=_create_topic),
    "aws:sns/topicPolicy:TopicPolicy": ResourceType(create=_set_topic_policy),
    "aws:sns/topicSubscription:TopicSubscription": ResourceType(create=_subscribe),
}
