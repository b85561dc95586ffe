"""docs/alarms.md: the alarms, event rules and notices of the stacks."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatehouse_policies.analysis.type_tokens import aws, by_token
from gatehouse_policies.program.types import Registration

from tools.docs import markdown
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import prose, table

KINDS = {
    "metric": "alarm on a metric of AWS",
    "service": "alarm on a metric that a service publishes",
    "log": "alarm on a metric filter",
    "probe": "alarm on the synthetic probe",
    "event": "event rule that notifies operators",
    "invocation": "event rule that invokes a function",
    "subscription": "notification of an AWS service",
}
_COMPARISONS = {"GreaterThanThreshold": "above", "LessThanThreshold": "below"}
_RUNBOOK = re.compile(r"/([a-z-]+)\.md$")


@dataclass(frozen=True)
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
    rows = [resource.registration for resource in deployed(stack).resources]
    filters = {row.name for row in rows if row.type in aws("cloudwatch.LogMetricFilter")}
    targets = {
        str(row.inputs["rule"]): str(row.inputs["arn"])
        for row in rows
        if row.type in aws("cloudwatch.EventTarget")
    }
    for row in rows:
        if row.type in aws("cloudwatch.MetricAlarm"):
            yield Notice(
                row.name,
                _kind(row, filters),
                _metric(row.inputs),
                _runbook(row.inputs["alarmDescription"]),
            )
        elif row.type in aws("cloudwatch.EventRule") and "eventPattern" in row.inputs:
            kind = "event" if ":sns:" in targets[row.inputs["name"]] else "invocation"
            description = row.inputs["description"]
            yield Notice(
                row.name, kind, prose(description.rpartition(" ")[0]), _runbook(description)
            )
        elif row.type in _SUBSCRIPTIONS:
            yield _SUBSCRIPTIONS[row.type](row)


def page() -> str:
    return markdown.page(
        "alarms",
        notices=table(("name", "condition", "runbook", "stacks"), (_row(*row) for row in _rows())),
    )


def _rows() -> list[tuple[Notice, list[str]]]:
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


def _kind(row: Registration, filters: set[str]) -> str:
    metrics = [query.get("metric", {}) for query in row.inputs.get("metricQueries", ())]
    namespaces = [str(metric.get("namespace", "")) for metric in (row.inputs, *metrics)]
    if not any(namespace.startswith("Gatehouse/") for namespace in namespaces):
        return "metric"
    if row.name in filters:
        return "log"
    of_probe = row.inputs.get("metricName") in ("ServiceUp", "CanaryKeyUp")
    return "probe" if of_probe else "service"


def _metric(alarm: Mapping[str, Any]) -> str:
    metrics = {
        query["id"]: query["metric"]
        for query in alarm.get("metricQueries", ())
        if "metric" in query
    } or {"metric": {**alarm, "stat": alarm.get("statistic")}}
    expressions = (query.get("expression") for query in alarm.get("metricQueries", ()))
    text = next(filter(None, expressions), "metric")
    for name, metric in metrics.items():
        # The namespace of the program's own metrics contains the name of the stack.
        namespace = re.sub(r"^Gatehouse/.*", "Gatehouse", metric["namespace"])
        tasks = dict(metric.get("dimensions") or {}).get("Tasks")
        label = f"`{namespace} {metric['metricName']}{f' ({tasks} tasks)' if tasks else ''}`"
        text = re.sub(rf"\b{name}\b", label, text)
    first = next(iter(metrics.values()))
    breaching, periods = int(alarm["datapointsToAlarm"]), int(alarm["evaluationPeriods"])
    minutes = int(first["period"]) * periods // 60
    duration = "1 day" if minutes == 24 * 60 else f"{minutes} min"
    share = f"{breaching} of " if breaching < periods else ""
    comparison = f"{_COMPARISONS[alarm['comparisonOperator']]} {float(alarm['threshold']):.12g}"
    missing = ", or no data" if alarm["treatMissingData"] == "breaching" else ""
    return f"{text} {first['stat']} {comparison} for {share}{duration}{missing}"


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


_SUBSCRIPTIONS: dict[str, Callable[[Registration], Notice]] = by_token(
    {"rds.EventSubscription": _rds, "backup.VaultNotifications": _vault, "budgets.Budget": _budget}
)
