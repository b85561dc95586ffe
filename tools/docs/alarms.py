"""docs/alarms.md: the alarms, event rules and notices of the stacks."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatehouse_policies.program.types import Registration

from tools.docs import markdown
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import prose, table

KINDS = {
    "metric": "alarm on a metric of AWS",
    "log": "alarm on a metric filter",
    "probe": "alarm on the synthetic probe",
    "composite": "composite alarm",
    "event": "event rule that notifies operators",
    "invocation": "event rule that invokes a function",
    "subscription": "notification of an AWS service",
}
_COMPARISONS = {"GreaterThanThreshold": "above", "LessThanThreshold": "below"}
_RUNBOOK = re.compile(r"/([a-z-]+)\.md$")


@dataclass(frozen=True, slots=True)
class Notice:
    """An alarm, an event rule, or a subscription to events of an AWS service.

    kind: key of `KINDS`.
    watches: the metric with its threshold, or the condition in words.
    runbook: file name in docs/runbooks, without extension; "" if the notice names none.
    """

    name: str
    kind: str
    watches: str
    runbook: str


def notices(stack: str) -> Iterator[Notice]:
    """Yield the alarms, event rules and subscriptions of a stack."""
    prefix = f"gatehouse-{stack}-"
    filters = {
        resource.registration.name
        for resource in deployed(stack).resources
        if resource.registration.type == "aws:cloudwatch/logMetricFilter:LogMetricFilter"
    }
    targets = {
        str(resource.registration.inputs["rule"]): str(resource.registration.inputs["arn"])
        for resource in deployed(stack).resources
        if resource.registration.type == "aws:cloudwatch/eventTarget:EventTarget"
    }
    for resource in deployed(stack).resources:
        row = resource.registration
        if row.type == "aws:cloudwatch/metricAlarm:MetricAlarm":
            own = str(row.inputs.get("namespace", "")).startswith("Gatehouse/")
            kind = "metric" if not own else "log" if row.name in filters else "probe"
            yield Notice(
                row.name, kind, _metric(row.inputs), _runbook(row.inputs["alarmDescription"])
            )
        elif row.type == "aws:cloudwatch/compositeAlarm:CompositeAlarm":
            rule = re.sub(rf'ALARM\("{prefix}([^"]+)"\)', r"`\1`", row.inputs["alarmRule"])
            yield Notice(row.name, "composite", rule, _runbook(row.inputs["alarmDescription"]))
        elif row.type == "aws:cloudwatch/eventRule:EventRule" and "eventPattern" in row.inputs:
            kind = "event" if ":sns:" in targets[row.inputs["name"]] else "invocation"
            description = row.inputs["description"]
            yield Notice(row.name, kind, _sentences(description), _runbook(description))
        elif row.type in _SUBSCRIPTIONS:
            yield _SUBSCRIPTIONS[row.type](row)


def page() -> str:
    """One table of all notices."""
    return markdown.page(
        "alarms",
        notices=table(("name", "condition", "runbook", "stacks"), (_row(*row) for row in _rows())),
    )


def _rows() -> list[tuple[Notice, list[str]]]:
    """Each notice with its stacks, by kind and name."""
    found: dict[str, tuple[Notice, list[str]]] = {}
    for stack in STACKS:
        for notice in notices(stack):
            previous = found[notice.name][1] if notice.name in found else []
            found[notice.name] = notice, [*previous, stack]
    return sorted(found.values(), key=lambda row: (list(KINDS).index(row[0].kind), row[0].name))


def _row(notice: Notice, stacks: list[str]) -> tuple[str, str, str, str]:
    runbook = f"[{notice.runbook}](runbooks/{notice.runbook}.md)" if notice.runbook else "-"
    return (
        f"`{notice.name}`",
        notice.watches,
        runbook,
        "all" if len(stacks) == len(STACKS) else ", ".join(stacks),
    )


def _metric(alarm: Mapping[str, Any]) -> str:
    metric = next(
        (query["metric"] for query in alarm.get("metricQueries", ()) if "metric" in query), alarm
    )
    statistic = metric.get("stat") or alarm.get("statistic") or alarm.get("extendedStatistic")
    minutes = int(metric["period"]) * int(alarm["evaluationPeriods"]) // 60
    duration = "1 day" if minutes == 24 * 60 else f"{minutes} min"
    # The namespace of the program's own metrics contains the name of the stack.
    namespace = re.sub(r"^Gatehouse/.*", "Gatehouse", metric["namespace"])
    comparison = f"{_COMPARISONS[alarm['comparisonOperator']]} {float(alarm['threshold']):.12g}"
    missing = ", or no data" if alarm["treatMissingData"] == "breaching" else ""
    return f"`{namespace} {metric['metricName']}` {statistic} {comparison} for {duration}{missing}"


def _sentences(description: str) -> str:
    return prose(description.rpartition(" ")[0])


def _runbook(description: str) -> str:
    match = _RUNBOOK.search(description)
    return match[1] if match else ""


def _rds(row: Registration) -> Notice:
    return Notice(
        row.name,
        "subscription",
        f"RDS events: {', '.join(row.inputs['eventCategories'])}",
        "database",
    )


def _vault(row: Registration) -> Notice:
    events = ", ".join(f"`{event}`" for event in row.inputs["backupVaultEvents"])
    return Notice(
        f"backup-vault-{row.name}", "subscription", f"AWS Backup events: {events}", "backup-failure"
    )


def _budget(row: Registration) -> Notice:
    thresholds = ", ".join(
        f"{rule['notificationType'].lower()} {rule['threshold']} %"
        for rule in row.inputs["notifications"]
    )
    return Notice(
        row.name, "subscription", f"costs of the month against budget.monthly_usd: {thresholds}", ""
    )


_SUBSCRIPTIONS: dict[str, Callable[[Registration], Notice]] = {
    "aws:rds/eventSubscription:EventSubscription": _rds,
    "aws:backup/vaultNotifications:VaultNotifications": _vault,
    "aws:budgets/budget:Budget": _budget,
}
