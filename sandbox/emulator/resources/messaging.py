"""SNS topics and subscriptions, and SQS queues."""

from sandbox.emulator.request import ChangeRequest
from sandbox.emulator.resource_type import KEPT, ResourceType

_TOPIC_ATTRIBUTES = {"kmsMasterKeyId": "KmsMasterKeyId"}
_QUEUE_ATTRIBUTES = {
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
}


def _update_topic(request: ChangeRequest) -> None:
    for name, value in request.attributes(_TOPIC_ATTRIBUTES).items():
        request.call(
            "sns.set_topic_attributes",
            TopicArn=request.old.id,
            AttributeName=name,
            AttributeValue=value,
        )


def _update_queue(request: ChangeRequest) -> None:
    attributes = request.attributes(_QUEUE_ATTRIBUTES)
    if attributes:
        request.call("sqs.set_queue_attributes", QueueUrl=request.old.id, Attributes=attributes)


def _delete_queue_policy(request: ChangeRequest) -> None:
    request.call("sqs.set_queue_attributes", QueueUrl=request.old.id, Attributes={"Policy": ""})


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sns/topic:Topic": ResourceType(
        call="sns.create_topic",
        id="{TopicArn}",
        prepare=lambda request: {"Attributes": request.attributes(_TOPIC_ATTRIBUTES)},
        update=_update_topic,
        outputs={"owner": "{account}"},
    ),
    "aws:sns/topicPolicy:TopicPolicy": ResourceType(
        call="sns.set_topic_attributes",
        id="{arn}",
        names={"arn": "TopicArn"},
        prepare=lambda request: {
            "AttributeName": "Policy",
            "AttributeValue": request.take("policy"),
        },
        delete=KEPT,
        outputs={"owner": "{account}"},
    ),
    "aws:sns/topicSubscription:TopicSubscription": ResourceType(
        call="sns.subscribe",
        id="{SubscriptionArn}",
        prepare=lambda request: {"ReturnSubscriptionArn": True},
        delete="sns.unsubscribe",
    ),
    "aws:sqs/queue:Queue": ResourceType(
        call="sqs.create_queue",
        id="{QueueUrl}",
        prepare=lambda request: {"Attributes": request.attributes(_QUEUE_ATTRIBUTES)},
        update=_update_queue,
        outputs={"arn": "arn:aws:sqs:{region}:{account}:{QueueName}", "url": "{QueueUrl}"},
    ),
    "aws:sqs/queuePolicy:QueuePolicy": ResourceType(
        call="sqs.set_queue_attributes",
        id="{queueUrl}",
        prepare=lambda request: {"Attributes": {"Policy": request.take("policy")}},
        delete=_delete_queue_policy,
    ),
}
