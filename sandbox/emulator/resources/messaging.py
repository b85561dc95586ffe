"""SNS topics and subscriptions, Slack channels, and SQS queues."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import KEPT, ResourceType, Setting


def topic_policy(request: CreateRequest) -> dict[str, Any]:
    return {"AttributeName": "Policy", "AttributeValue": request.take("policy")}


def queue_policy(request: CreateRequest) -> dict[str, Any]:
    return {"Attributes": {"Policy": request.take("policy")}}


TYPES = {
    "chatbot.SlackChannelConfiguration": ResourceType(
        "chatbot.create_slack_channel_configuration",
        "arn:aws:chatbot::{account}:chat-configuration/slack-channel/{configurationName}",
        outputs={"chatConfigurationArn": "{id}"},
        modelled="moto has no AWS Chatbot",
    ),
    "sns.Topic": ResourceType(
        "sns.create_topic",
        "{TopicArn}",
        outputs={"owner": "{account}"},
        settings=(
            Setting("sns.set_topic_attributes", attributes={"kmsMasterKeyId": "KmsMasterKeyId"}),
        ),
    ),
    "sns.TopicPolicy": ResourceType(
        "sns.set_topic_attributes",
        "{arn}",
        names={"arn": "TopicArn"},
        outputs={"owner": "{account}"},
        prepare=topic_policy,
        delete=KEPT,
    ),
    "sns.TopicSubscription": ResourceType(
        "sns.subscribe",
        "{SubscriptionArn}",
        defaults={"returnSubscriptionArn": True},
        delete="sns.unsubscribe",
    ),
    "sqs.Queue": ResourceType(
        "sqs.create_queue",
        "{QueueUrl}",
        outputs={"arn": "arn:aws:sqs:{region}:{account}:{QueueName}", "url": "{QueueUrl}"},
        settings=(
            Setting(
                "sqs.set_queue_attributes",
                attributes={
                    "messageRetentionSeconds": "MessageRetentionPeriod",
                    "kmsMasterKeyId": "KmsMasterKeyId",
                    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
                },
            ),
        ),
    ),
    "sqs.QueuePolicy": ResourceType(
        "sqs.set_queue_attributes",
        "{queueUrl}",
        prepare=queue_policy,
        delete="sqs.set_queue_attributes",
        delete_parameters={"Attributes": {"Policy": ""}},
    ),
}
