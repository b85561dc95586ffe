"""`gatehouse usage`: shows how often keys were used."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from gatehouse.cli.connection import connect
from gatehouse.cli.options import ConsoleOption, JsonOption, TokenOption
from gatehouse.cli.output import USAGE, count, note, print_json, print_table, stop

_BAR_WIDTH = 30
_DURATION = re.compile(r"(\d{1,5})([mhd])")
_UNITS_S = {"m": 60, "h": 3600, "d": 86_400}
_DIMENSIONS = ("key", "core", "code")
_BY = re.compile(r"(key|core|code)(,(key|core|code)){0,2}")


class Width(StrEnum):
    """The width of a time bucket."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(usage)


def usage(
    width: Annotated[
        Width, typer.Option(help="Bucket width. Retention: minutes 2 days, hours 90 days, days 3 years.")
    ] = Width.HOUR,
    last: Annotated[str, typer.Option(help="Time range, such as 90m, 24h or 30d. Default: 60 buckets.")] = "",
    by: Annotated[str, typer.Option(help="Dimensions: key, core, code, or several separated by commas.")] = "",
    key: Annotated[str, typer.Option(help="Only this key ID.")] = "",
    core: Annotated[str, typer.Option(help="Only this Core.")] = "",
    code: Annotated[str, typer.Option(help="Only this result code, such as RATE_LIMITED.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the number of requests per minute, hour or day."""
    if by and not _BY.fullmatch(by):
        stop("--by must be key, core or code, or several of them separated by commas, such as key,code", code=USAGE)
    since = None if not last else (datetime.now(UTC) - _duration(last)).isoformat().replace("+00:00", "Z")
    with connect(console, token) as client:
        series = client.usage(
            width=width.value, since=since, by=by or None, key=key or None, core=core or None, code=code or None
        )
    if as_json:
        print_json(series)
        return
    dimensions = [dimension for dimension in _DIMENSIONS if dimension in by.split(",")]
    most = max((point.count for point in series.points), default=1)
    rows = [
        (
            point.at,
            *(getattr(point, dimension) or "-" for dimension in dimensions),
            str(point.count),
            "#" * -(-point.count * _BAR_WIDTH // most),
        )
        for point in series.points
    ]
    print_table(("from", *dimensions, "requests", ""), rows)
    note(f"{count(series.total, 'request')} from {series.since} to {series.until}")


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        stop("--last must be a duration such as 90m, 24h or 30d", code=USAGE)
    return timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
