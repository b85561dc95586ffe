"""docs/alarms.md: the alarms and event rules of the stacks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pulumi_local.type_tokens import aws
from pulumi_local.types import Registration

from components.contract import read
from tools.docs import markdown
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import prose, table

KINDS = {
    "metric": "alarm on a metric of AWS",
    "service": "alarm on a metric that a service publishes",
    "log": "alarm on a metric filter",
    "probe": "alarm on the synthetic probe",
    "event": "alarm on events or notices of AWS services",
    "composite": "alarm on the states of other alarms",
    "invocation": "event rule that invokes a function",
}
_COMPARISONS = {"GreaterThanThreshold": "above", "LessThanThreshold": "below"}
_SERVICE = re.compile(rf"\b({'|'.join(read().services)})-(?=\w)")
_SHARE = re.compile(r"IF\((`[^`]+`) > (\d+)( AND .* < \d+)?, 100 \* \1 / (?:MAX\()?[\[(].*, 0\)$")
"""The expression of a burn rate: a share of the requests."""
_RUNBOOK = re.compile(r"/([a-z-]+)\.md$")
_PARTS = {r"-00\d-": "-<node>-", r"-[a-z]+-[a-z]+-\d[a-z]-": "-<zone>-"}
"""Parts of names, whose alarms are one row: the nodes of the cache and the Availability Zones."""


FAULTS = {
    "The cache is lost, its login or its network is broken": "cache-unavailable",
    "The database is lost, its login or its network is broken": "database-unavailable",
    "The collector in the tasks is dead": "gateway-traces-lost",
    "Workers are killed": "gateway-restarts",
    "A release returns errors": "gateway-errors",
    "Tasks close connections, or none is healthy": "edge-errors",
    "The gateway or its key state is lost": "gateway-down",
    "No addresses, network interfaces or capacity of Fargate": "tasks-not-started",
    "The storage of the database is full": "database-storage",
    "A KMS key is disabled": "key-disabled",
    "The region is lost, or has an outage whose pages do not leave it": "heartbeat",
}
"""The alarm that notifies of each fault. Tests make the faults: `test_faults.py` of
`tests/components/monitoring/` and of `tests/runtime/services/gateway/`, and `test_process.py`."""


@dataclass(frozen=True)
class Notice:
    """An alarm, or an event rule that invokes a function.

    kind: key of `KINDS`.
    watches: the metric with its threshold, or the condition in words.
    runbook: file name in docs/runbooks, without extension.
    severity: page, ticket, or none.
    """

    name: str
    kind: str
    watches: str
    runbook: str
    severity: str = "none"


def notices(stack: str) -> Iterator[Notice]:
    """Yield the alarms of a stack, and the event rules without one."""
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
                row.name, _kind(row, filters), _metric(row.inputs), *_runbook_and_severity(row)
            )
        elif row.type in aws("cloudwatch.CompositeAlarm"):
            rule = re.sub(rf'ALARM\("\w+-{stack}-([\w-]+)"\)', r"`\1`", row.inputs["alarmRule"])
            text = re.sub(r"\((`[^`]+`)\)", r"\1", rule)
            text = text.replace(" AND ", " and ").replace(" OR ", " or ")
            yield Notice(row.name, "composite", text, *_runbook_and_severity(row))
        elif (
            row.type in aws("cloudwatch.EventRule")
            and "eventPattern" in row.inputs
            and ":sns:" not in targets[row.inputs["name"]]
        ):
            description = row.inputs["description"]
            text = prose(description.rpartition(" ")[0])
            yield Notice(row.name, "invocation", text, _runbook(description))


def page() -> str:
    return markdown.page(
        "alarms",
        faults=table(("fault", "severity", "alarm", "when", "runbook"), _faults()),
        notices=table(
            ("name", "severity", "condition", "runbook", "stacks"), (_row(*row) for row in _rows())
        ),
    )


def _faults() -> Iterator[tuple[str, ...]]:
    found = {notice.name: notice for notice in notices(STACKS[-1])}
    for fault, name in FAULTS.items():
        notice = found[name]
        conditions = re.findall(r"`([\w-]+)`", notice.watches) if notice.kind == "composite" else []
        periods = dict.fromkeys(_when(found[each]) for each in conditions or [name])
        yield fault, notice.severity, f"`{name}`", " or ".join(periods), _link(notice.runbook)


def _when(notice: Notice) -> str:
    return notice.watches.rpartition(" for ")[2]


def _link(runbook: str) -> str:
    return f"[{runbook}](runbooks/{runbook}.md)"


def _rows() -> list[tuple[Notice, list[str]]]:
    """Return each alarm with its stacks. An alarm that every service, node or zone has is one
    row.
    """
    found: dict[str, tuple[Notice, list[str]]] = {}
    for stack in STACKS:
        for notice in notices(stack):
            name = notice.name
            for part, shown in _PARTS.items():
                name = re.sub(part, shown, name)
            previous = found[name][1] if name in found else []
            found[name] = replace(notice, name=name), [*dict.fromkeys((*previous, stack))]
    services = [*read().services]
    for name in [name for name in found if name.startswith(f"{services[0]}-")]:
        same = [f"{service}-{name.partition('-')[2]}" for service in services]
        rows = [
            (replace(row[0], name=_service(row[0].name), watches=_service(row[0].watches)), row[1])
            for row in map(found.get, same)
            if row
        ]
        if len(rows) == len(services) and all(row == rows[0] for row in rows):
            found = {key: row for key, row in found.items() if key not in same}
            found[rows[0][0].name] = rows[0]
    return sorted(found.values(), key=lambda row: (list(KINDS).index(row[0].kind), row[0].name))


def _service(text: str) -> str:
    return _SERVICE.sub("<service>-", text)


def _row(notice: Notice, stacks: list[str]) -> tuple[str, ...]:
    return (
        f"`{notice.name}`",
        notice.severity.replace("none", "-"),
        notice.watches,
        _link(notice.runbook),
        "all" if len(stacks) == len(STACKS) else ", ".join(stacks),
    )


def _kind(row: Registration, filters: set[str]) -> str:
    metrics = [query.get("metric", {}) for query in row.inputs.get("metricQueries", ())]
    namespaces = [str(metric.get("namespace", "")) for metric in (row.inputs, *metrics)]
    if not any(namespace.startswith("Gatehouse/") for namespace in namespaces):
        notified = row.inputs.get("metricName") in ("Invocations", "NumberOfMessagesPublished")
        return "event" if notified else "metric"
    if row.name in filters:
        return "log"
    of_probe = row.inputs.get("metricName") in ("ServiceUp", "CanaryKeyUp", "Heartbeat")
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
        namespace = re.sub(r"^Gatehouse/.*", "", metric["namespace"])
        tasks = dict(metric.get("dimensions") or {}).get("Tasks")
        label = f"{namespace} {metric['metricName']}{f' ({tasks} tasks)' if tasks else ''}"
        label = f"`{label.strip()}`"
        text = re.sub(rf"\b{name}\b", label, text)
    text = _SHARE.sub(r"share of \1, if more than \2\3,", text)
    first = next(iter(metrics.values()))
    breaching, periods = int(alarm["datapointsToAlarm"]), int(alarm["evaluationPeriods"])
    minutes = int(first["period"]) * periods // 60
    days = minutes // (24 * 60)
    duration = f"{days} day{'s' if days > 1 else ''}" if days else f"{minutes} min"
    share = f"{breaching} of " if breaching < periods else ""
    comparison = f"{_COMPARISONS[alarm['comparisonOperator']]} {float(alarm['threshold']):.12g}"
    missing = ", or no data" if alarm["treatMissingData"] == "breaching" else ""
    return f"{text} {first['stat']} {comparison} for {share}{duration}{missing}"


def _runbook_and_severity(row: Registration) -> tuple[str, str]:
    severity = row.inputs["tags"]["Severity"].removesuffix("s")
    return _runbook(row.inputs["alarmDescription"]), severity


def _runbook(description: str) -> str:
    (runbook,) = _RUNBOOK.findall(description)
    return str(runbook)
