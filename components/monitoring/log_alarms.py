"""Metric filters and alarms for log groups: changes to the account, denied API keys, usage, the
audit trail, and secrets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import tables
from components.component import StackComponent, Topics
from components.context import Stack
from components.monitoring.metric_alarms import DATABASE_PRESENT, Alarm, metric_alarm, table_alarms

ROWS = tables.read(__file__)
ACCOUNT_ACTION = "Find the caller in the trail, and compare the call with planned changes."
UNIT = "Count"
DATABASE = {
    "name": "DatabaseAgeSeconds",
    "dimensions": {"Service": "gateway"},
    "statistic": "Maximum",
}


class LogAlarms(StackComponent):
    """A metric filter and an alarm for each of fifteen changes to the account, for denied or abused
    API keys, for usage that is not recorded, for attempts to guess links, for a broken audit
    chain, and for secrets that are not deleted.

    Why: CloudTrail records the changes that precede or constitute an incident; the alarms notify
        operators.

    log_groups: Log group of the gateway, the console, the sharing service and, if the stack has a
        trail, CloudTrail ("trail").
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        topics: Topics,
        log_groups: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        for log_filter in log_alarms(stack):
            name = log_filter.alarm.name
            metric_filter = aws.cloudwatch.LogMetricFilter(
                name,
                name=self.names.name(name),
                log_group_name=log_groups[log_filter.group],
                pattern=log_filter.pattern,
                metric_transformation={
                    "name": name,
                    "namespace": self.names.namespace,
                    "value": "1",
                    "unit": UNIT,
                },
                opts=self.child,
            )
            metric_alarm(log_filter.alarm, stack, topics, metric_filter)
        self.register_outputs({})


@dataclass(frozen=True)
class LogFilter:
    """A metric filter and its alarm. group: kind of its log group."""

    group: str
    pattern: str
    alarm: Alarm


def log_alarms(stack: Stack) -> Iterator[LogFilter]:
    """Yield the rows of log_alarms.toml."""
    for group, rows in ROWS.items():
        if group == "trail" and stack.settings.existing_resources.trail:
            continue
        for row in rows:
            fields = {**row}
            pattern = _calls(fields.pop("calls")) if "calls" in row else fields.pop("pattern")
            if group == "trail":
                fields["description"] += f" {ACCOUNT_ACTION}"
            # Each matching line is a sample. Others can add negative values to the metric, and
            # values in other units, for which an alarm without a unit is undefined (CloudWatch API
            # Reference, "PutMetricAlarm").
            lines = {
                "name": row["name"],
                "dimensions": {},
                "statistic": "SampleCount",
                "unit": UNIT,
            }
            if fields.pop("needs_database", False):
                fields["expression"] = f"IF({DATABASE_PRESENT}, lines, 0)"
                fields["metrics"] = {"lines": lines, "database": DATABASE}
            else:
                fields["metric"] = lines
            (alarm,) = table_alarms([fields], stack)
            yield LogFilter(group, " ".join(pattern.split()), alarm)


def _calls(calls: str) -> str:
    """Return the filter pattern for API calls."""
    source, _, names = calls.rpartition(":")
    events = " || ".join(f'($.eventName = "{name}")' for name in names.split())
    if source:
        return f'{{ ($.eventSource = "{source}.amazonaws.com") && ({events}) }}'
    return f"{{ {events} }}"
