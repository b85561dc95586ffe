"""SNS topics, their policies and subscriptions."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


def _topic(make: Make) -> tuple[str, dict[str, Any]]:
    attributes = {
        member: str(make.peek(name)).lower() if isinstance(make.peek(name), bool) else str(make.peek(name))
        for name, member in _TOPIC_ATTRIBUTES.items()
        if make.take(name) is not None
    }
    name = make.take("name") or make.registration.name
    tags: dict[str, Any] = {"Tags": make.tag_list()} if make.tags else {}
    arn = make.call("sns.create_topic", Name=name, Attributes=attributes, **tags)["TopicArn"]
    return arn, {"arn": arn, "name": name, "owner": make.account}


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


def _topic_policy(make: Make) -> tuple[str, dict[str, Any]]:
    arn = make.take("arn")
    make.call("sns.set_topic_attributes", TopicArn=arn, AttributeName="Policy", AttributeValue=make.take("policy"))
    return arn, {"owner": make.account}


def _subscription(make: Make) -> tuple[str, dict[str, Any]]:
    attributes = {
        member: str(make.peek(name)).lower() if isinstance(make.peek(name), bool) else str(make.peek(name))
        for name, member in (
            ("rawMessageDelivery", "RawMessageDelivery"),
            ("filterPolicy", "FilterPolicy"),
            ("redrivePolicy", "RedrivePolicy"),
        )
        if make.take(name) is not None
    }
    answer = make.call(
        "sns.subscribe",
        TopicArn=make.take("topic"),
        Protocol=make.take("protocol"),
        Endpoint=make.take("endpoint"),
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return answer["SubscriptionArn"], {"arn": answer["SubscriptionArn"], "ownerId": make.account}


ROWS: dict[str, Row] = {
    "aws:sns/topic:Topic": Row(make=_topic),
    "aws:sns/topicPolicy:TopicPolicy": Row(make=_topic_policy),
    "aws:sns/topicSubscription:TopicSubscription": Row(make=_subscription),
}
