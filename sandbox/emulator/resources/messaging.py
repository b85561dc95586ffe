"""SNS topics and subscriptions, Slack channels, and SQS queues."""

from sandbox.emulator.request import ChangeRequest
from sandbox.emulator.resource_type import KEPT, ResourceType, Setting

_QUEUE_ATTRIBUTES = {
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
}


def _delete_queue_policy(request: ChangeRequest) -> None:
    request.call("sqs.set_queue_attributes", QueueUrl=request.old.id, Attributes={"Policy": ""})


RESOURCE_TYPES: dict[str, ResourceType] = {
    "chatbot.SlackChannelConfiguration": ResourceType(
        "chatbot.create_slack_channel_configuration",
        "arn:aws:chatbot::{account}:chat-configuration/slack-channel/{configurationName}",
        outputs={"chatConfigurationArn": "{id}"},
        modelled="moto has no AWS Chatbot",
    ),
    "sns.Topic": ResourceType(
        "sns.create_topic",
        "{TopicArn}",
        settings=(
            Setting("sns.set_topic_attributes", attributes={"kmsMasterKeyId": "KmsMasterKeyId"}),
        ),
        outputs={"owner": "{account}"},
    ),
    "sns.TopicPolicy": ResourceType(
        "sns.set_topic_attributes",
        "{arn}",
        names={"arn": "TopicArn"},
        prepare=lambda request: {
            "AttributeName": "Policy",
            "AttributeValue": request.take("policy"),
        },
        delete=KEPT,
        outputs={"owner": "{account}"},
    ),
    "sns.TopicSubscription": ResourceType(
        "sns.subscribe",
        "{SubscriptionArn}",
        prepare=lambda request: {"ReturnSubscriptionArn": True},
        delete="sns.unsubscribe",
    ),
    "sqs.Queue": ResourceType(
        "sqs.create_queue",
        "{QueueUrl}",
        settings=(Setting("sqs.set_queue_attributes", attributes=_QUEUE_ATTRIBUTES),),
        outputs={"arn": "arn:aws:sqs:{region}:{account}:{QueueName}", "url": "{QueueUrl}"},
    ),
    "sqs.QueuePolicy": ResourceType(
        "sqs.set_queue_attributes",
        "{queueUrl}",
        prepare=lambda request: {"Attributes": {"Policy": request.take("policy")}},
        delete=_delete_queue_policy,
    ),
}
