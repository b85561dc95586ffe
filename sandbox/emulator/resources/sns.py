"""SNS topics, their policies and subscriptions."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

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
_SUBSCRIPTION_ATTRIBUTES = {
    "rawMessageDelivery": "RawMessageDelivery",
    "filterPolicy": "FilterPolicy",
    "redrivePolicy": "RedrivePolicy",
}


def _topic_attributes(request: CreateRequest) -> dict[str, Any]:
    name = request.take("name") or request.registration.name
    return {"Name": name, "Attributes": request.attributes(_TOPIC_ATTRIBUTES)}


def _policy_attribute(request: CreateRequest) -> dict[str, Any]:
    return {"AttributeName": "Policy", "AttributeValue": request.take("policy")}


def _subscription_attributes(request: CreateRequest) -> dict[str, Any]:
    return {"Attributes": request.attributes(_SUBSCRIPTION_ATTRIBUTES), "ReturnSubscriptionArn": True}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sns/topic:Topic": ResourceType(
        call="sns.create_topic",
        id="{TopicArn}",
        prepare=_topic_attributes,
        finish=lambda request, _topic: {"name": request.sent["Name"], "owner": request.account},
    ),
    "aws:sns/topicPolicy:TopicPolicy": ResourceType(
        call="sns.set_topic_attributes",
        id="{arn}",
        names={"arn": "TopicArn"},
        prepare=_policy_attribute,
        outputs={"owner": "{account}"},
    ),
    "aws:sns/topicSubscription:TopicSubscription": ResourceType(
        call="sns.subscribe",
        id="{SubscriptionArn}",
        prepare=_subscription_attributes,
        outputs={"ownerId": "{account}"},
    ),
}
