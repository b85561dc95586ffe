"""Schedule expressions of AWS services."""

import re

from gatehouse_policies.analysis.properties import MalformedError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS_PER_MONTH = 30
_VALID_MONTH = "a cron expression with a valid month"


def longest_gap_days(expression: str) -> float:
    """The longest time between two runs of a cron expression, in days. A schedule that ends has an
    infinite gap.

    The result is a number of months of 30 days. A schedule that runs in every month has a gap of at
    most one month.

    Raises MalformedError for another expression.

    https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html
    """
    match = re.fullmatch(r"cron\((.+)\)", expression)
    fields = match[1].split() if match else []
    if len(fields) != 6:
        raise _malformed("a rate or a cron expression with six fields")
    if fields[5] != "*":
        return float("inf")
    months = sorted(_months(fields[3]))
    gaps = (
        later - earlier
        for earlier, later in zip(months, [*months[1:], months[0] + len(_MONTHS)], strict=True)
    )
    return max(gaps) * _DAYS_PER_MONTH


def _months(field: str) -> set[int]:
    """The months (0 to 11) of a month field: names, numbers, ranges, steps, and lists of these."""
    months: set[int] = set()
    for part in field.upper().split(","):
        match = re.fullmatch(r"([*?]|[A-Z0-9]+)(?:-([A-Z0-9]+))?(?:/(\d+))?", part)
        if match is None:
            raise _malformed(_VALID_MONTH)
        first, last, step = match.groups()
        start = 0 if first in "*?" else _month(first)
        open_ended = first in "*?" or step is not None
        end = _month(last) if last else len(_MONTHS) - 1 if open_ended else start
        months |= set(range(start, end + 1, max(int(step or 1), 1)))
    if not months:
        raise _malformed(_VALID_MONTH)
    return months


def _month(text: str) -> int:
    if text in _MONTHS:
        return _MONTHS.index(text)
    if text.isdigit() and 1 <= int(text) <= len(_MONTHS):
        return int(text) - 1
    raise _malformed(_VALID_MONTH)


def _malformed(expected: str) -> MalformedError:
    return MalformedError("scheduleExpression", expected, "another expression")
