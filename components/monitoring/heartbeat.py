"""The heartbeat of a stack: an alarm in another region, which misses signs of life."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.encryption.kms_keys import topic_key
from components.iam.documents import render
from components.iam.resource_policies import topic_policy
from components.monitoring.cloudwatch_alarm import alarm_description
from components.monitoring.topics import subscribe
from components.naming import PAGES, tags

MINUTES, MISSING_MIN = 10, 8


class Heartbeat(StackComponent):
    """An alarm in the second region with a topic, a key and subscriptions of its own.

    Why: A lost region cannot report it, and neither can a topic whose key is disabled. The
    synthetic probe publishes 1 in the second region while everything is up. If it publishes 0 or
    nothing, this alarm pages after MISSING_MIN minutes: later than the alarms of the stack, so
    that it reports an outage that they could not report, or to which nobody has reacted.
    """

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, stack, opts)
        region = self.settings.heartbeat_region
        names, topic_name = self.names.in_region(region), self.names.name(name)
        key = topic_key(self, name, names, [topic_name], region=region)
        topic = aws.sns.Topic(
            name,
            region=region,
            name=topic_name,
            kms_master_key_id=key.arn,
            tags=tags("internal"),
            opts=self.child,
        )
        policy = aws.sns.TopicPolicy(
            name,
            region=region,
            arn=topic.arn,
            policy=render(topic_policy(names, topic_name)),
            opts=self.child,
        )
        subscribe(self, name, policy.arn, pages=True, region=region)
        description = (
            f"In {MISSING_MIN} of {MINUTES} minutes, the stack has not reported to {region} that "
            f"its services are up. Check the pages of {self.names.region}: without one, the region "
            "or the way of its pages is lost."
        )
        aws.cloudwatch.MetricAlarm(
            name,
            region=region,
            name=self.names.name(name),
            alarm_description=alarm_description(description, "heartbeat", stack, PAGES),
            namespace=self.names.namespace,
            metric_name="Heartbeat",
            dimensions={"Service": "gateway"},
            statistic="Minimum",
            period=60,
            evaluation_periods=MINUTES,
            datapoints_to_alarm=MISSING_MIN,
            threshold=1,
            comparison_operator="LessThanThreshold",
            treat_missing_data="breaching",
            alarm_actions=[policy.arn],
            ok_actions=[policy.arn],
            actions_enabled=True,
            tags=tags("none", Severity=PAGES),
            opts=self.child,
        )
        self.register_outputs({})
