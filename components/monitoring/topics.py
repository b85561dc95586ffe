"""The SNS topics of a stack."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, Topics
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import topic_policy
from components.naming import CHAT_REGION, NOTICES, PAGES, TICKETS, tags


class AlarmTopics(StackComponent):
    """Encrypted topics for alarms of both severities, with subscriptions by e-mail, a pager and a
    Slack channel, and for notices of AWS services.

    Why: Only alarms that need a person at once reach the pager. Pagers and chats discard messages
    in the formats of other AWS services, so nobody subscribes to notices: alarms count them
    (record 90).

    chat_role_arn: Role of the Slack channel; None without a channel.
    """

    topics: Topics
    """The ARNs of the topics resolve after their policies exist, because AWS services check when
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
        monitoring, names = self.settings.monitoring, self.names
        alarms = {
            severity: self._topic(severity, names.name(severity), key_arn)
            for severity in (PAGES, TICKETS)
        }
        for severity, arn in alarms.items():
            subscribe(self, severity, arn, pages=severity == PAGES)
        if chat_role_arn and monitoring.slack_channel:
            workspace, _, channel = monitoring.slack_channel.partition("/")
            aws.chatbot.SlackChannelConfiguration(
                name,
                region=CHAT_REGION,
                configuration_name=names.name(name),
                slack_team_id=workspace,
                slack_channel_id=channel,
                iam_role_arn=chat_role_arn,
                # Members of the channel cannot run commands. The default is AdministratorAccess.
                guardrail_policy_arns=[names.any_arn("iam", "policy/AWSDenyAll", account="aws")],
                sns_topic_arns=list(alarms.values()),
                logging_level="ERROR",
                tags=tags("none"),
                opts=self.child,
            )
        notices = {
            kind: self._topic(kind, names.notice_topic(kind), key_arn, notice=kind)
            for kind in NOTICES
        }
        self.topics = Topics(alarms, notices)
        self.register_outputs({})

    def _topic(
        self, name: str, topic_name: str, key_arn: pulumi.Input[str], notice: str | None = None
    ) -> pulumi.Output[str]:
        topic = aws.sns.Topic(
            name, name=topic_name, kms_master_key_id=key_arn, tags=tags("internal"), opts=self.child
        )
        policy = render(topic_policy(self.names, topic_name, notice))
        return aws.sns.TopicPolicy(name, arn=topic.arn, policy=policy, opts=self.child).arn


def subscribe(
    component: StackComponent,
    name: str,
    topic_arn: pulumi.Input[str],
    *,
    pages: bool,
    region: str | None = None,
) -> None:
    """Subscribe the e-mail addresses of the stack to a topic and, if it is one for pages, the
    pager."""
    monitoring = component.settings.monitoring
    endpoints = [("email", address) for address in monitoring.emails]
    endpoints += [("https", url) for url in [monitoring.pager_url] if url and pages]
    for index, (protocol, endpoint) in enumerate(endpoints):
        resource = f"{name}-{index}"
        if protocol == "https":
            resource = "pager" if region is None else f"{name}-pager"
        aws.sns.TopicSubscription(
            resource,
            region=region,
            topic=topic_arn,
            protocol=protocol,
            endpoint=endpoint,
            endpoint_auto_confirms=True if protocol == "https" else None,
            opts=component.child,
        )
