"""Schedule expressions of AWS services."""

import re
from datetime import date, timedelta
from itertools import pairwise

from gatehouse_policies.analysis.properties import MalformedError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_START = date(2025, 1, 1)
_MONTH = 30
"""Days of a month. A schedule that runs in every month has a gap of at most one month."""


def longest_gap_days(expression: str) -> float:
    """The longest time between two runs of a cron expression, in days. A schedule that ends, or
    that runs less than once a year, has an infinite gap.

    Raises MalformedError for another expression.

    https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html
    """
    match = re.fullmatch(r"cron\((.+)\)", expression)
    fields = match[1].upper().split() if match else []
    if len(fields) != 6:
        raise _malformed("a rate or a cron expression with six fields")
    _, _, month_days, month, weekdays, year = fields
    months = _values(month, _MONTHS, "a cron expression with a valid month")
    all_days = (_START + timedelta(days) for days in range(2 * 365))
    runs = [
        day
        for day in all_days
        if day.month in months and _runs(day, month_days) and _runs_on_weekday(day, weekdays)
    ]
    if year != "*" or len(runs) < 2:
        return float("inf")
    gap = max((later - earlier).days for earlier, later in pairwise(runs))
    return gap if gap > _MONTH + 1 else min(gap, _MONTH)


def _runs(day: date, field: str) -> bool:
    """True if a field of days of the month contains the day. L is the last day; 15W is the weekday
    next to day 15.
    """
    is_last = (day + timedelta(1)).day == 1
    values = re.sub(r"(\d+)W", r"\1", field)
    return is_last if "L" in values else day.day in _values(values, (), _DAY, 31)


def _runs_on_weekday(day: date, field: str) -> bool:
    """True if a field of weekdays contains the day. 2#1 is the first Monday, and 2L the last."""
    weekday, _, number = field.partition("#")
    is_week = not number or number == str((day.day + 6) // 7)
    if len(weekday) > 1 and weekday.endswith("L"):
        weekday, is_week = weekday[:-1], (day + timedelta(7)).month != day.month
    return is_week and day.isoweekday() % 7 + 1 in _values(weekday, _WEEKDAYS, _DAY)


_DAY = "a cron expression with valid days"


def _values(field: str, names: tuple[str, ...], expected: str, count: int = 0) -> set[int]:
    """The numbers in a field, from 1: names, numbers, ranges, steps, and lists of these."""
    count = count or len(names)
    values: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"([*?]|[A-Z0-9]+)(?:-([A-Z0-9]+))?(?:/(\d+))?", part)
        if match is None:
            raise _malformed(expected)
        first, last, step = match.groups()
        start = 1 if first in "*?" else _number(first, names, count, expected)
        open_ended = first in "*?" or step is not None
        end = _number(last, names, count, expected) if last else count if open_ended else start
        values |= set(range(start, end + 1, max(int(step or 1), 1)))
    if not values:
        raise _malformed(expected)
    return values


def _number(text: str, names: tuple[str, ...], count: int, expected: str) -> int:
    if text in names:
        return names.index(text) + 1
    if text.isdigit() and 1 <= int(text) <= count:
        return int(text)
    raise _malformed(expected)


def _malformed(expected: str) -> MalformedError:
    return MalformedError("scheduleExpression", expected, "another expression")
