"""The topic of what AWS services themselves have to tell: of the database, the backups and the bill."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, Statement, allow, deny, document, render
from components.naming import Naming
from components.tags import tags

TOPIC = "notices"
SENDERS = ("events.rds", "backup", "budgets", "costalerts")
"""The services that publish: events of RDS, backup jobs, the budget, and cost anomalies."""


@dataclass(frozen=True, kw_only=True)
class NotificationTopicArgs:
    """names: the stack's names. emails: who is told. key_arn: the key of the topic."""

    names: Naming
    emails: tuple[str, ...]
    key_arn: pulumi.Input[str]


class NotificationTopic(pulumi.ComponentResource):
    """An encrypted topic for the four services above, and its readers.

    Why: a failover, a failed backup or a doubled bill is known only to the service in question; it must reach a person.
    It is apart from the alarms' topic because that one is made last and these senders are made early. Cost: under 1 USD
    a month. Controls: GH-SNS-001, GH-RDS-017, GH-COST-001.
    """

    arn: pulumi.Output[str]
    """Known once the senders may publish: AWS tests that when one of them is told the topic."""

    def __init__(self, name: str, args: NotificationTopicArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:NotificationTopic", name, component_inputs(args), opts)
        topic = aws.sns.Topic(
            name,
            name=args.names.name(TOPIC),
            kms_master_key_id=args.key_arn,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        policy = aws.sns.TopicPolicy(
            name, arn=topic.arn, policy=render(topic_policy(args.names)), opts=pulumi.ResourceOptions(parent=self)
        )
        for index, address in enumerate(args.emails):
            aws.sns.TopicSubscription(
                f"{name}-{index}",
                topic=topic.arn,
                protocol="email",
                endpoint=address,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.arn = policy.arn
        self.register_outputs({"arn": self.arn})


def topic_policy(names: Naming) -> Document:
    """The senders may publish for our account, over TLS alone."""
    arn = names.arn("sns", names.name(TOPIC))
    return document(
        deny("OnlyTls", ["sns:Publish"], [arn], conditions={"Bool": {"aws:SecureTransport": "false"}}),
        allow(
            "ServicesPublish",
            ["sns:Publish"],
            [arn],
            principal={"Service": [f"{sender}.amazonaws.com" for sender in SENDERS]},
            conditions={"StringEquals": {"aws:SourceAccount": names.account}},
        ),
    )


def key_users(names: Naming) -> tuple[Statement, ...]:
    """What the topic's key lets the senders do: encrypt what they publish to this topic, which SNS names in the encryption
    context (KMS developer guide, "How Amazon SNS uses AWS KMS")."""
    return (
        allow(
            "NoticesPublish",
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            ["*"],
            principal={"Service": [f"{sender}.amazonaws.com" for sender in SENDERS]},
            conditions={"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": names.arn("sns", names.name(TOPIC))}},
        ),
    )
