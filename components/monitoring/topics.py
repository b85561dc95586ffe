"""The SNS topics of a stack."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.contract import Stack
from components.iam.documents import Document, render
from components.iam.resource_policies import NOTIFICATION_TOPIC, notification_topic_policy
from components.naming import tags


class NotificationTopic(StackComponent):
    """An encrypted topic for notifications from RDS, AWS Backup and AWS Budgets.

    Why: These services report failovers, failed backups and unexpected cost only through
    notifications. The alarm topic is separate because it is created after the resources that
    publish to this topic.
    Cost: below 1 USD a month. Controls: GH-SNS-001, GH-RDS-017, GH-COST-001.
    """

    arn: pulumi.Output[str]
    """ARN of the topic. Resolves after the topic policy exists, because AWS services check when
    they are configured whether they can publish."""

    def __init__(
        self, name: str, stack: Stack, key_arn: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("gatehouse:monitoring:NotificationTopic", name, stack, opts)
        policy = notification_topic_policy(self.names)
        self.arn = email_topic(name, NOTIFICATION_TOPIC, policy, key_arn, self)
        self.register_outputs({"arn": self.arn})


def email_topic(
    name: str, resource: str, policy: Document, key_arn: pulumi.Input[str], parent: StackComponent
) -> pulumi.Output[str]:
    """Create an encrypted topic with e-mail subscriptions. The ARN resolves after the topic policy
    exists.
    """
    topic = aws.sns.Topic(
        name,
        name=parent.names.name(resource),
        kms_master_key_id=key_arn,
        tags=tags("internal"),
        opts=parent.child,
    )
    for index, address in enumerate(parent.settings.monitoring.emails):
        aws.sns.TopicSubscription(
            f"{name}-{index}",
            topic=topic.arn,
            protocol="email",
            endpoint=address,
            opts=parent.child,
        )
    return aws.sns.TopicPolicy(name, arn=topic.arn, policy=render(policy), opts=parent.child).arn
