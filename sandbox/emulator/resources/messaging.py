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
        call="chatbot.create_slack_channel_configuration",
        id="arn:aws:chatbot::{account}:chat-configuration/slack-channel/{configurationName}",
        outputs={"chatConfigurationArn": "{id}"},
        modelled="moto has no AWS Chatbot",
    ),
    "sns.Topic": ResourceType(
        call="sns.create_topic",
        id="{TopicArn}",
        settings=(
            Setting("sns.set_topic_attributes", attributes={"kmsMasterKeyId": "KmsMasterKeyId"}),
        ),
        outputs={"owner": "{account}"},
    ),
    "sns.TopicPolicy": ResourceType(
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
    "sns.TopicSubscription": ResourceType(
        call="sns.subscribe",
        id="{SubscriptionArn}",
        prepare=lambda request: {"ReturnSubscriptionArn": True},
        delete="sns.unsubscribe",
    ),
    "sqs.Queue": ResourceType(
        call="sqs.create_queue",
        id="{QueueUrl}",
        settings=(Setting("sqs.set_queue_attributes", attributes=_QUEUE_ATTRIBUTES),),
        outputs={"arn": "arn:aws:sqs:{region}:{account}:{QueueName}", "url": "{QueueUrl}"},
    ),
    "sqs.QueuePolicy": ResourceType(
        call="sqs.set_queue_attributes",
        id="{queueUrl}",
        prepare=lambda request: {"Attributes": {"Policy": request.take("policy")}},
        delete=_delete_queue_policy,
    ),
}
