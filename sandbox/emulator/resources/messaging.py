"""SNS topics and subscriptions, and SQS queues."""

from sandbox.emulator.resource_type import ResourceType

_TOPIC_ATTRIBUTES = {"kmsMasterKeyId": "KmsMasterKeyId"}
_QUEUE_ATTRIBUTES = {
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:sns/topic:Topic": ResourceType(
        call="sns.create_topic",
        id="{TopicArn}",
        prepare=lambda request: {"Attributes": request.attributes(_TOPIC_ATTRIBUTES)},
        outputs={"owner": "{account}"},
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
        prepare=lambda request: {"ReturnSubscriptionArn": True},
    ),
    "aws:sqs/queue:Queue": ResourceType(
        call="sqs.create_queue",
        id="{QueueUrl}",
        prepare=lambda request: {"Attributes": request.attributes(_QUEUE_ATTRIBUTES)},
        outputs={"arn": "arn:aws:sqs:{region}:{account}:{QueueName}", "url": "{QueueUrl}"},
    ),
    "aws:sqs/queuePolicy:QueuePolicy": ResourceType(
        call="sqs.set_queue_attributes",
        id="{queueUrl}",
        prepare=lambda request: {"Attributes": {"Policy": request.take("policy")}},
    ),
}
