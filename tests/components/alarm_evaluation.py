"""Evaluates metric filters, metric alarms and composite alarms as CloudWatch does.

Sources: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters"; CloudWatch User
Guide, "Alarm evaluation" and "Create a composite alarm". The emulator stores filters and alarms but
evaluates neither.
"""

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from moto.events.models import EventPattern

Period = Mapping[str, float]
"""Values of one period, keyed by the ID of the metric query, or by "" for an alarm on a single
metric. A metric without data is missing."""

_COMPARISONS = {"GreaterThanThreshold": operator.gt, "LessThanThreshold": operator.lt}
_EXPRESSIONS: Mapping[str, Callable[[Iterable[float]], float]] = {"SUM": sum, "MAX": max}
_TEST = re.compile(r'\(?\$\.([\w.]+) (?:(NOT EXISTS)|(=|!=) ("[^"]*"|\*))\)?')


def matches(pattern: str, event: Mapping[str, Any]) -> bool:
    """Return whether a JSON filter pattern matches a log event. Raises AssertionError for syntax
    that is not supported here.
    """
    expression = _TEST.sub(lambda test: str(_is_true(event, *test.groups())), pattern.strip("{} "))
    expression = expression.replace("&&", "and").replace("||", "or")
    assert re.fullmatch(r"(True|False|and|or|[() ])+", expression), f"{pattern}: not evaluated"
    return bool(eval(expression))  # noqa: S307 - of True and False only


def matches_event(pattern: str, event: Mapping[str, Any]) -> bool:
    """Return whether an event pattern matches. EventBridge compares a pattern with the objects of
    an array, which the matcher of the emulator does not: an array with one object is replaced by
    the object."""

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


def alarm_state(alarm: Mapping[str, Any], periods: Sequence[Period]) -> str:
    """Return the state of a metric alarm after these periods: ALARM, OK or INSUFFICIENT_DATA."""
    count = alarm["evaluationPeriods"]
    assert len(periods) >= count, "an alarm is evaluated over all of its periods"
    breaching = [_breaches(alarm, period) for period in periods[-count:]]
    if None not in breaching:
        return "ALARM" if sum(map(bool, breaching)) >= alarm["datapointsToAlarm"] else "OK"
    missing = {"breaching": True, "notBreaching": False}.get(alarm["treatMissingData"])
    filled = [missing if value is None else value for value in breaching]
    if None in filled:
        return "INSUFFICIENT_DATA"
    return "ALARM" if sum(map(bool, filled)) >= alarm["datapointsToAlarm"] else "OK"


def composite_state(rule: str, states: Mapping[str, str]) -> bool:
    """Return whether a composite alarm is in the state ALARM. states: states of the alarms, by
    name. Raises KeyError if an alarm does not exist."""
    expression = re.sub(r'ALARM\("([^"]+)"\)', lambda match: str(states[match[1]] == "ALARM"), rule)
    expression = expression.replace("AND", "and").replace("OR", "or")
    assert re.fullmatch(r"(True|False|and|or|[() ])+", expression), f"{rule}: not evaluated"
    return bool(eval(expression))  # noqa: S307 - of True and False only


def series(alarm: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The metrics of an alarm, keyed as in `Period`: namespace, metricName, dimensions and stat."""
    if "metricQueries" in alarm:
        return {
            query["id"]: query["metric"] for query in alarm["metricQueries"] if "metric" in query
        }
    return {"": {**alarm, "stat": alarm.get("statistic") or alarm.get("extendedStatistic")}}


def _breaches(alarm: Mapping[str, Any], period: Period) -> bool | None:
    value = _combined(alarm, period) if "metricQueries" in alarm else period.get("")
    return (
        None
        if value is None
        else bool(_COMPARISONS[alarm["comparisonOperator"]](value, alarm["threshold"]))
    )


def _combined(alarm: Mapping[str, Any], period: Period) -> float | None:
    (query,) = (query for query in alarm["metricQueries"] if query["returnData"])
    names = re.findall(r"FILL\((\w+), 0\)", query["expression"])
    assert set(names) == set(series(alarm)), query["expression"]
    if re.fullmatch(r"FILL\(\w+, 0\) - FILL\(\w+, 0\)", query["expression"]):
        return period.get(names[0], 0) - period.get(names[1], 0) if period else None
    (function,) = re.fullmatch(r"(SUM|MAX)\(\[.+\]\)", query["expression"]).groups()  # type: ignore[union-attr]
    # FILL needs at least one data point of any metric of the expression.
    return float(_EXPRESSIONS[function](period.get(name, 0) for name in names)) if period else None
