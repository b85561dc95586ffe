"""Makes one CloudWatch alarm from its description in `alarms`."""

from collections.abc import Iterator

import pulumi
import pulumi_aws as aws

from components.monitoring.metric_alarms import Alarm
from components.naming import Naming
from components.tags import tags


def alarm_description(words: str, runbook: str, runbooks_url: str) -> str:
    """The text that reaches people: what is wrong, what to look at first, and where to read on."""
    return f"{words} {runbooks_url}/{runbook}.md"


def metric_alarm(
    alarm: Alarm, names: Naming, runbooks_url: str, topic_arn: pulumi.Input[str], parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """The alarm, which tells the topic when it begins and ends."""
    one = alarm.at[0] if len(alarm.at) == 1 else None
    percentile = alarm.statistic.startswith("p")
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=names.name(alarm.name),
        alarm_description=alarm_description(alarm.words, alarm.runbook, runbooks_url),
        namespace=alarm.namespace if one is not None else None,
        metric_name=alarm.metric if one is not None else None,
        dimensions=dict(one) if one else None,
        statistic=alarm.statistic if one is not None and not percentile else None,
        extended_statistic=alarm.statistic if one is not None and percentile else None,
        period=alarm.period_s if one is not None else None,
        metric_queries=list(_queries(alarm)) if one is None else None,
        evaluation_periods=alarm.periods,
        datapoints_to_alarm=alarm.periods,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        actions_enabled=True,
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
        tags=tags("none"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _queries(alarm: Alarm) -> Iterator[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
    for colour, dimensions in zip(("blue", "green"), alarm.at, strict=True):
        yield aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id=colour,
            metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                namespace=alarm.namespace,
                metric_name=alarm.metric,
                dimensions=dict(dimensions),
                stat=alarm.statistic,
                period=alarm.period_s,
            ),
            return_data=False,
        )
    yield aws.cloudwatch.MetricAlarmMetricQueryArgs(id="both", expression=alarm.expression, label=alarm.name, return_data=True)
