"""Evaluates metric filters and metric alarms as CloudWatch does, also for metrics that arrive late
or not at all.

Sources: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters"; CloudWatch User
Guide, "Alarm evaluation", "Configuring how CloudWatch alarms treat missing data" and "Using math
expressions with CloudWatch metrics". The emulator stores filters and alarms but evaluates neither.
"""

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from moto.events.models import EventPattern

from tests.components.program import Program, run

Values = Mapping[str, Sequence[float | None]]
"""Value of each minute, keyed by the ID of the metric query, or by "" for an alarm on a single
metric. None: the metric has no data in this minute.
"""

EXTRA_PERIODS = 2
"""Periods before those of the alarm whose data replaces missing data. CloudWatch does not document
the number; the example in its documentation has two.
"""
_COMPARISONS = {"GreaterThanThreshold": operator.gt, "LessThanThreshold": operator.lt}
_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "SampleCount": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
}
_TEST = re.compile(r'\(?\$\.([\w.]+) (?:(NOT EXISTS)|(=|!=) ("[^"]*"|\*))\)?')


def matches(pattern: str, event: Mapping[str, Any]) -> bool:
    """Return whether a JSON filter pattern matches. Raises AssertionError for other syntax."""
    expression = _TEST.sub(lambda test: str(_is_true(event, *test.groups())), pattern.strip("{} "))
    expression = expression.replace("&&", "and").replace("||", "or")
    assert re.fullmatch(r"(True|False|and|or|[() ])+", expression), f"{pattern}: not evaluated"
    return bool(eval(expression))  # noqa: S307 - of True and False only


def matches_event(pattern: str, event: Mapping[str, Any]) -> bool:
    """Return whether an event pattern matches. EventBridge compares it with the objects of an
    array; the matcher of the emulator does not, so an array with one object is replaced by the
    object.
    """

    def flattened(value: Any) -> Any:
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            return flattened(value[0])
        return (
            {key: flattened(item) for key, item in value.items()}
            if isinstance(value, dict)
            else value
        )

    return bool(EventPattern.load(pattern).matches_event(flattened(dict(event))))


def _is_true(
    event: Mapping[str, Any],
    path: str,
    absent: str | None,
    comparison: str | None,
    text: str | None,
) -> bool:
    value: Any = event
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if absent:
        return value is None
    if value is None or text == "*":
        return value is not None and comparison == "="
    return fnmatch.fnmatchcase(str(value), str(text).strip('"')) is (comparison == "=")


def alarm_states(alarm: Mapping[str, Any], values: Values, *, delay: int = 0) -> list[str]:
    """Return the states of a metric alarm: ALARM, OK or INSUFFICIENT_DATA, evaluated about five
    times in a period, and in the last minute.

    delay: minutes after which CloudWatch receives a value.
    """
    minutes = _minutes(alarm)
    count = min(len(row) for row in values.values())
    states, state = [], "INSUFFICIENT_DATA"
    for now in sorted({*range(0, count, max(1, minutes // 5)), count - 1}):
        state = _state(alarm, values, now + 1, max(0, now + 1 - delay), state)
        states.append(state)
    return states


def all_alarms(program: Program) -> dict[str, dict[str, Any]]:
    return {**program.alarms(), **program.inputs("cloudwatch.CompositeAlarm")}


def notifications(program: Program, raised: set[str]) -> dict[str, set[str]]:
    """Return the alarms that notify the topic of each severity while these metric alarms are
    raised (CloudWatch User Guide, "Create a composite alarm" and "Alarm suppression").
    """
    names = {name: row.get("name") or row["alarmName"] for name, row in all_alarms(program).items()}
    active = {names[name] for name in raised}
    composites = program.inputs("cloudwatch.CompositeAlarm")
    for row in composites.values():
        rule = re.sub(r'ALARM\("([^"]+)"\)', lambda m: str(m[1] in active), row["alarmRule"])
        rule = rule.replace("AND", "and").replace("OR", "or")
        assert re.fullmatch(r"(True|False|and|or|[() ])+", rule), f"{rule}: not evaluated"
        if eval(rule):  # noqa: S307 - of True and False only
            active.add(row["alarmName"])
    topics: dict[str, set[str]] = {"pages": set(), "tickets": set()}
    for name, row in all_alarms(program).items():
        suppressor = row.get("actionsSuppressor", {}).get("alarm")
        notifies = bool(row["alarmActions"]) and suppressor not in active
        if names[name] in active and notifies:
            topics[row["tags"]["Severity"]].add(name)
    return topics


def _state(alarm: Mapping[str, Any], values: Values, end: int, received: int, previous: str) -> str:
    """received: minutes whose values CloudWatch has at the end."""
    minutes, count = _minutes(alarm), alarm["evaluationPeriods"]
    points = [
        _breaches(
            *(alarm, values),
            max(0, end - (index + 1) * minutes),
            min(received, end - index * minutes),
        )
        for index in range(count + EXTRA_PERIODS)
        if end - index * minutes > 0
    ]
    existing = [point for point in points if point is not None][:count]
    breaching, missing = sum(existing), count - len(existing)
    if breaching >= alarm["datapointsToAlarm"]:
        return "ALARM"
    if breaching + missing < alarm["datapointsToAlarm"]:
        return "OK"
    treatment = alarm["treatMissingData"]
    if any(metric["namespace"] == "AWS/DynamoDB" for metric in series(alarm).values()):
        treatment = "ignore"  # CloudWatch API Reference, PutMetricAlarm, TreatMissingData
    decided = {"breaching": "ALARM", "notBreaching": "OK", "ignore": previous}
    return decided.get(treatment, "OK" if existing else "INSUFFICIENT_DATA")


def _minutes(alarm: Mapping[str, Any]) -> int:
    return int(next(iter(series(alarm).values()))["period"]) // 60


def series(alarm: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if "metricQueries" in alarm:
        return {
            query["id"]: query["metric"] for query in alarm["metricQueries"] if "metric" in query
        }
    return {"": {**alarm, "stat": alarm["statistic"]}}


def _breaches(alarm: Mapping[str, Any], values: Values, start: int, end: int) -> bool | None:
    """Whether the period from `start` to `end` breaches the threshold. None: it has no data."""
    statistics: dict[str, float] = {}
    for query, metric in series(alarm).items():
        period = [value for value in values[query][start:end] if value is not None]
        if period:
            statistics[query] = _STATISTICS[metric["stat"]](period)
    value = _result(alarm, statistics)
    return (
        None
        if value is None
        else bool(_COMPARISONS[alarm["comparisonOperator"]](value, alarm["threshold"]))
    )


_FUNCTIONS = {"IF": lambda condition, one, other: one if condition else other, "MAX": max}


def _result(alarm: Mapping[str, Any], values: Mapping[str, float]) -> float | None:
    """The value of an alarm's expression or metric. Without FILL, it needs every metric."""
    if "metricQueries" not in alarm:
        return values.get("")
    (query,) = (query for query in alarm["metricQueries"] if query["returnData"])
    return _value(query["expression"], frozenset(series(alarm)), tuple(values.items()))


@cache  # Most periods of a timeline have the same values.
def _value(
    expression: str, metrics: frozenset[str], statistics: tuple[tuple[str, float], ...]
) -> float | None:
    values = dict(statistics)
    text = re.sub(
        r"FILL\((\w+), (\d+)\)", lambda fill: str(values.get(fill[1], fill[2])), expression
    )
    if missing := set(re.findall(r"\b[a-z]+\b", text)) - set(values):
        assert missing <= metrics, f"{expression}: not evaluated"
        return None
    text = text.replace(" AND ", " and ")
    assert re.fullmatch(r"([a-zA-Z]+|[\d.]+|[-+*/<>()\[\], ])+", text), f"{text}: not evaluated"
    try:
        return float(eval(text, {"__builtins__": {}}, {**_FUNCTIONS, **values}))  # noqa: S307
    except ZeroDivisionError:
        return None  # CloudWatch returns no data point


def rolled_back_by(service: str, values: Mapping[str, float], stack: str = "prod") -> set[str]:
    """The alarms on these metrics that roll back a deployment of a service. values: sums of five
    minutes, by the name of the metric.
    """
    minutes = {name: [value / 5] * 10 for name, value in values.items()}
    alarms, program = run(stack).alarms(), run(stack)
    names = program.get("ecs.Service", service).inputs["alarms"]["alarmNames"]
    return {name for name in raised_by(minutes, stack) if alarms[name]["name"] in names}


def notified(
    minutes: Mapping[str, Sequence[float]], *, service: str = "", stack: str = "prod"
) -> set[tuple[str, str]]:
    """Alarms and severities of the notifications. minutes: values of minutes by the name of the
    metric, of all resources, or of one service.
    """
    topics = notifications(run(stack), raised_by(minutes, stack, service))
    return {(name, topic) for topic, names in topics.items() for name in names}


def raised_by(minutes: Mapping[str, Sequence[float]], stack: str, service: str = "") -> set[str]:
    """The metric alarms that have only these metrics, and are raised in the last minute."""
    length, raised = max(map(len, minutes.values())), set[str]()
    values = {"DatabaseAgeSeconds": [1.0] * length, **minutes}
    for name, alarm in run(stack).alarms().items():
        metrics = series(alarm)
        rows = {query: str(metric["metricName"]) for query, metric in metrics.items()}
        named = [dict(metric.get("dimensions") or {}) for metric in metrics.values()]
        services = {dimensions.get("Service", service) for dimensions in named}
        if set(rows.values()) <= set(values) and (not service or services == {service}):
            states = alarm_states(alarm, {query: values[row] for query, row in rows.items()})
            if states[-1] == "ALARM":
                raised.add(name)
    return raised
