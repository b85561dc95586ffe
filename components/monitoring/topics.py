"""The SNS topic of a stack."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import alarm_topic_policy
from components.naming import ALARM_TOPIC, CHAT_REGION, tags


class AlarmTopic(StackComponent):
    """An encrypted topic for alarms, events, and notifications from RDS, AWS Backup and AWS
    Budgets, with subscriptions by e-mail, a pager and a Slack channel.

    Why: Some services report failovers, failed backups and unexpected cost only through
    notifications. Operators subscribe once and receive everything.

    chat_role_arn: Role of the Slack channel; None without a channel.
    """

    arn: pulumi.Output[str]
    """ARN of the topic. Resolves after the topic policy exists, because AWS services check when
    they are configured whether they can publish."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        key_arn: pulumi.Input[str],
        chat_role_arn: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
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
        if url := self.settings.monitoring.pager_url:
            aws.sns.TopicSubscription(
                f"{name}-pager",
                topic=topic.arn,
                protocol="https",
                endpoint=url,
                endpoint_auto_confirms=True,
                opts=self.child,
            )
        if chat_role_arn and self.settings.monitoring.slack_channel:
            workspace, _, channel = self.settings.monitoring.slack_channel.partition("/")
            aws.chatbot.SlackChannelConfiguration(
                name,
                region=CHAT_REGION,
                configuration_name=self.names.name(ALARM_TOPIC),
                slack_team_id=workspace,
                slack_channel_id=channel,
                iam_role_arn=chat_role_arn,
                # Members of the channel cannot run commands. The default is AdministratorAccess.
                guardrail_policy_arns=[
                    self.names.any_arn("iam", "policy/AWSDenyAll", account="aws")
                ],
                sns_topic_arns=[topic.arn],
                logging_level="ERROR",
                tags=tags("none"),
                opts=self.child,
            )
        policy = render(alarm_topic_policy(self.names))
        self.arn = aws.sns.TopicPolicy(name, arn=topic.arn, policy=policy, opts=self.child).arn
        self.register_outputs({})
