"""`gatehouse usage`: how often keys were used, as a table with bars or as JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import USAGE, note, print_json, print_table, stop

_BAR_CHARS = 30


_DURATION = re.compile(r"(\d{1,5})([mhd])")


_UNITS_S = {"m": 60, "h": 3600, "d": 86_400}


_BY = re.compile(r"(key|core|code)(,(key|core|code)){0,2}")


class Width(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


def register(app: typer.Typer) -> None:
    app.command()(usage)


def usage(
    width: Annotated[Width, typer.Option(help="Of a bucket. Minutes are kept 2 days, hours 90 days, days 3 years.")] = Width.HOUR,
    last: Annotated[str, typer.Option(help="How far back, such as 90m, 24h or 30d. Default: 60 buckets.")] = "",
    by: Annotated[str, typer.Option(help="Split by key, core, code: one or several with commas between.")] = "",
    key: Annotated[str, typer.Option(help="Only this key's id.")] = "",
    core: Annotated[str, typer.Option(help="Only this Core.")] = "",
    code: Annotated[str, typer.Option(help="Only this outcome, such as RATE_LIMITED.")] = "",
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show how often keys were used, by minute, hour or day; one line a bucket."""
    if by and not _BY.fullmatch(by):
        stop("--by must be key, core or code, or several of them with commas between, such as key,code", code=USAGE)
    since = None if not last else (datetime.now(UTC) - _duration(last)).isoformat().replace("+00:00", "Z")
    with connect(console, token) as client:
        series = client.usage(
            width=width.value, since=since, by=by or None, key=key or None, core=core or None, code=code or None
        )
    if as_json:
        print_json(series.model_dump(mode="json"))
        return
    parts = [part for part in ("key", "core", "code") if part in by.split(",")]
    most = max((point.count for point in series.points), default=1)
    rows = [
        (point.at, *(getattr(point, part) or "-" for part in parts), str(point.count), "#" * -(-point.count * _BAR_CHARS // most))
        for point in series.points
    ]
    print_table("", ("from", *parts, "requests", ""), rows)
    note(f"{series.total} request{'' if series.total == 1 else 's'} from {series.since} to {series.until}")


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        stop("--last must be a duration such as 90m, 24h or 30d", code=USAGE)
    return timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
