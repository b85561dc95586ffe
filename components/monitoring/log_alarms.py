"""Metric filters and alarms for log groups: changes to the account, denied API keys, usage, the
audit trail, and secrets.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, Topics
from components.context import Stack
from components.monitoring.cloudwatch_alarm import (
    DATABASE_PRESENT,
    Alarm,
    Expression,
    Metric,
    above,
    database_age,
    metric_alarm,
)
from components.naming import PAGES, TICKETS, Naming

CIS_FILTERS = Path(__file__).with_name("cis_filters.toml")
UNIT = "Count"


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
        for log_filter in log_filters(stack):
            name = log_filter.name
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
            metric_alarm(log_filter.alarm(self.names), stack, topics, metric_filter)
        self.register_outputs({})


@dataclass(frozen=True)
class LogFilter:
    """A metric filter and its alarm.

    group: Kind of its log group.
    pattern: Filter pattern (CloudWatch Logs User Guide, "Filter pattern syntax for metric
        filters").
    threshold: Number of matching lines in five minutes above which the alarm is raised.
    needs_database: An outage of the database, which has an alarm of its own, causes matching lines,
        which are then not counted.
    """

    name: str
    description: str
    runbook: str
    group: str
    pattern: str
    threshold: float = 0
    severity: str = TICKETS
    needs_database: bool = False

    def alarm(self, names: Naming) -> Alarm:
        # Each matching line is a sample. Others can add negative values to the metric, and values
        # in other units, for which an alarm without a unit is undefined (CloudWatch API Reference,
        # "PutMetricAlarm").
        lines = Metric(names.namespace, self.name, {}, "SampleCount", UNIT)
        metric = Expression(
            f"IF({DATABASE_PRESENT}, lines, 0)", {"lines": lines, "database": database_age(names)}
        )
        return Alarm(
            self.name,
            self.description,
            self.runbook,
            metric if self.needs_database else lines,
            above(self.threshold),
            self.severity,
        )


def log_filters(stack: Stack) -> Iterator[LogFilter]:
    if not stack.settings.existing_resources.trail:
        yield from _cis_filters()
    yield from _gateway_filters(stack)
    yield from _sharing_filters(stack)
    yield from _console_filters()


def _cis_filters() -> Iterator[LogFilter]:
    for row in tomllib.loads(CIS_FILTERS.read_text(encoding="utf-8"))["filter"]:
        description = " ".join(row["description"].split())
        yield LogFilter(
            name=row["name"],
            description=f"{description} Find the caller in the trail, and compare the call with "
            "planned changes.",
            runbook="account-activity",
            group="trail",
            pattern=_calls(row["calls"]) if "calls" in row else " ".join(row["pattern"].split()),
            threshold=row.get("threshold", 0),
            severity=row.get("severity", TICKETS),
        )


def _calls(calls: str) -> str:
    """Return the filter pattern for API calls."""
    source, _, names = calls.rpartition(":")
    events = " || ".join(f'($.eventName = "{name}")' for name in names.split())
    if source:
        return f'{{ ($.eventSource = "{source}.amazonaws.com") && ({events}) }}'
    return f"{{ {events} }}"


def _codes(*codes: str) -> str:
    return " || ".join(f'($.code = "{code}")' for code in codes)


def _failed_jobs(*names: str) -> str:
    """Return the filter pattern for failures of background jobs."""
    jobs = " || ".join(f'($.job = "{name}")' for name in names)
    return f'{{ ($.event = "background job failed") && {f"({jobs})" if len(names) > 1 else jobs} }}'


def _gateway_filters(stack: Stack) -> Iterator[LogFilter]:
    yield LogFilter(
        "keys-rejected",
        "The gateway denies an unusual number of requests because of their API keys. Possible "
        "causes: guessing, a leaked key or a misconfigured client. Find the addresses in the "
        "access log of the load balancer.",
        "rejected-keys",
        "gateway",
        f"{{ {_codes('NOT_FOUND', 'REVOKED', 'FORBIDDEN', 'EXPIRED', 'DISABLED')} }}",
        threshold=stack.settings.monitoring.denied_requests_alarm_threshold,
    )
    yield LogFilter(
        "keys-unavailable",
        "The gateway denies requests with valid keys, because it cannot confirm that its key "
        "cache is current or because a dependency is unavailable. Check the database and the "
        "cache.",
        "rejected-keys",
        "gateway",
        '{ $.code = "UNAVAILABLE" }',
        threshold=10,
        needs_database=True,
    )
    # A gateway repeats a failed write every second.
    yield LogFilter(
        "usage-not-written",
        "Gateways fail to write usage counts to the database. The counts wait in memory and are "
        "lost if a task stops. Check the database.",
        "database",
        "gateway",
        _failed_jobs("usage counts"),
        threshold=60,
        needs_database=True,
    )


def _sharing_filters(stack: Stack) -> Iterator[LogFilter]:
    yield LogFilter(
        "links-denied",
        "The sharing service denies an unusual number of attempts to use links or submission "
        "links. Possible causes: guessing, or a client that retries links that no longer work. "
        "Find the addresses in the access log of the load balancer.",
        "links",
        "sharing",
        f'{{ ($.service = "sharing") && ({_codes("link_not_found", "too_many_denied")}) }}',
        threshold=stack.settings.monitoring.denied_links_alarm_threshold,
    )
    yield LogFilter(
        "links-locked",
        "Someone who has a link is guessing the passphrase of the link. After 5 incorrect "
        "passphrases from one network, or 20 in total, further attempts are denied for up to ten "
        "minutes. Find the link in the audit trail.",
        "links",
        "sharing",
        f'{{ ($.service = "sharing") && {_codes("too_many_attempts")} }}',
        threshold=5,
    )


def _console_filters() -> Iterator[LogFilter]:
    yield LogFilter(
        "audit-chain-broken",
        "An event of the audit trail was changed or removed, so no further checkpoint is signed. "
        "Treat this alarm as a security incident.",
        "audit-chain",
        "console",
        '{ $.event = "audit trail broken" }',
        severity=PAGES,
    )
    # The jobs delete secrets and record the events of secrets.
    yield LogFilter(
        "secrets-not-deleted",
        "The console fails to delete used or expired secrets or to record their events. Links to "
        "these secrets no longer work. Check the log group of the console.",
        "tokens",
        "console",
        _failed_jobs("secrets", "orphaned secrets"),
        threshold=5,
        needs_database=True,
    )
