"""SNS topics and subscriptions, and SQS queues."""

from collections.abc import Mapping
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


_QUEUE_ATTRIBUTES = {
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "redrivePolicy": "RedrivePolicy",
    "policy": "Policy",
}


def _name_and_attributes(request: CreateRequest, member: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    name = request.take("name") or request.registration.name
    return {member: name, "Attributes": request.attributes(attributes)}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sns/topic:Topic": ResourceType(
        call="sns.create_topic",
        id="{TopicArn}",
        prepare=lambda request: _name_and_attributes(request, "Name", _TOPIC_ATTRIBUTES),
        outputs={"name": "{Name}", "owner": "{account}"},
    ),
    "aws:sns/topicPolicy:TopicPolicy": ResourceType(
        call="sns.set_topic_attributes",
        id="{arn}",
        names={"arn": "TopicArn"},
        prepare=lambda request: {"AttributeName": "Policy", "AttributeValue": request.take("policy")},
        outputs={"owner": "{account}"},
    ),
    "aws:sns/topicSubscription:TopicSubscription": ResourceType(
        call="sns.subscribe",
        id="{SubscriptionArn}",
        prepare=lambda request: {"Attributes": request.attributes(_SUBSCRIPTION_ATTRIBUTES), "ReturnSubscriptionArn": True},
        outputs={"ownerId": "{account}"},
    ),
    "aws:sqs/queue:Queue": ResourceType(
        call="sqs.create_queue",
        id="{QueueUrl}",
        prepare=lambda request: _name_and_attributes(request, "QueueName", _QUEUE_ATTRIBUTES),
        outputs={"arn": "arn:aws:sqs:{region}:{account}:{QueueName}", "name": "{QueueName}", "url": "{QueueUrl}"},
    ),
    "aws:sqs/queuePolicy:QueuePolicy": ResourceType(
        call="sqs.set_queue_attributes",
        id="{queueUrl}",
        prepare=lambda request: {"Attributes": {"Policy": request.take("policy")}},
    ),
}
