"""The SNS topic of a stack."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.contract import Stack
from components.iam.documents import render
from components.iam.resource_policies import ALARM_TOPIC, alarm_topic_policy
from components.naming import tags


class AlarmTopic(StackComponent):
    """An encrypted topic for alarms, events, and notifications from RDS, AWS Backup and AWS
    Budgets, with e-mail subscriptions.

    Why: Some services report failovers, failed backups and unexpected cost only through
    notifications. Operators subscribe once and receive everything.
    Cost: below 1 USD a month. Controls: GH-SNS-001, GH-RDS-017, GH-COST-001.
    """

    arn: pulumi.Output[str]
    """ARN of the topic. Resolves after the topic policy exists, because AWS services check when
    they are configured whether they can publish."""

    def __init__(
        self, name: str, stack: Stack, key_arn: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("gatehouse:monitoring:AlarmTopic", name, stack, opts)
        topic = aws.sns.Topic(
            name,
            name=self.names.name(ALARM_TOPIC),
            kms_master_key_id=key_arn,
            tags=tags("internal"),
            opts=self.child,
        )
        for index, address in enumerate(self.settings.monitoring.emails):
            aws.sns.TopicSubscription(
                f"{name}-{index}",
                topic=topic.arn,
                protocol="email",
                endpoint=address,
                opts=self.child,
            )
        policy = render(alarm_topic_policy(self.names))
        self.arn = aws.sns.TopicPolicy(name, arn=topic.arn, policy=policy, opts=self.child).arn
        self.register_outputs({"arn": self.arn})
