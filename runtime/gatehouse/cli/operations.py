"""`gatehouse log-level` and `gatehouse features`: what a running deployment logs, and what it can do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.key_life import seconds
from gatehouse.cli.output import USAGE, print_json, print_table, stop


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def register(app: typer.Typer) -> None:
    app.command(name="log-level")(log_level)
    app.command()(features)


def log_level(
    level: Annotated[Level | None, typer.Argument(help="The least that is logged. Without it: show what holds now.")] = None,
    for_: Annotated[str, typer.Option("--for", metavar="DURATION", help="Until the setting holds again: 10s to 1d.")] = "15m",
    reset: Annotated[bool, typer.Option("--reset", help="Let the setting of each process hold again now.")] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the log level of every gateway and console worker, or set it for a time; it is everywhere after three seconds."""
    if reset and level is not None:
        stop("LEVEL and --reset exclude each other", code=USAGE)
    for_s = seconds("--for", for_)
    with connect(console, token) as client:
        if reset:
            client.reset_log_level()
        now = client.log_level() if level is None else client.set_log_level(level.value, for_s=for_s)
    if as_json:
        print_json(now.model_dump(mode="json"))
    elif now.until is None:
        print(f"{now.level}, as configured")
    else:
        print(f"{now.level} until {now.until}, set by {now.set_by}; configured: {now.configured}")


def features(console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List what can be switched off by GATEHOUSE_FEATURES, and what is at this console."""
    with connect(console, token) as client:
        found = client.features()
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    rows = [(one.name, one.service, "on" if one.enabled else "off", one.meaning) for one in found]
    print_table("", ("feature", "service", "here", "meaning"), rows)
