"""`gatehouse log-level`, `features` and `pepper`: inspects and adjusts a running deployment."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gatehouse.cli.connection import connect
from gatehouse.cli.options import ConsoleOption, JsonOption, TokenOption, seconds
from gatehouse.cli.output import USAGE, note, print_json, print_table, stop


class Level(StrEnum):
    """A log level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(name="log-level")(log_level)
    app.command()(features)
    pepper = typer.Typer(help="Inspect the generations of the pepper.")
    pepper.callback()(_pepper)
    pepper.command()(status)
    app.add_typer(pepper, name="pepper")


def log_level(
    level: Annotated[Level | None, typer.Argument(help="New log level. Without it, the current log level is shown.")] = None,
    for_: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="Time after which the configured level applies again: 10s to 1d.")
    ] = "15m",
    reset: Annotated[bool, typer.Option("--reset", help="Apply the configured level again now.")] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show or set the log level of all gateway and console workers. A change applies within three seconds."""
    if reset and level is not None:
        stop("LEVEL and --reset exclude each other", code=USAGE)
    for_s = seconds("--for", for_)
    with connect(console, token) as client:
        if reset:
            client.reset_log_level()
        current = client.log_level() if level is None else client.set_log_level(level.value, for_s=for_s)
    if as_json:
        print_json(current)
    elif current.until is None:
        print(f"{current.level} (configured)")
    else:
        print(f"{current.level} until {current.until}, set by {current.set_by}; configured: {current.configured}")


def features(console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List the features that GATEHOUSE_FEATURES can switch off, and their state at this console."""
    with connect(console, token) as client:
        listed = client.features()
    if as_json:
        print_json(list(listed))
        return
    rows = [(feature.name, feature.service, "on" if feature.enabled else "off", feature.meaning) for feature in listed]
    print_table(("feature", "service", "state", "description"), rows)


def status(console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show the use of each pepper generation. Keys move to the newest generation when they are used."""
    with connect(console, token) as client:
        pepper = client.pepper_status()
    if as_json:
        print_json(pepper)
        return
    rows = [
        (
            str(row.generation),
            "yes" if row.held else "MISSING",
            *(str(uses) for uses in (row.keys, row.ids, row.cores, row.imported, row.signing)),
            "removable" if row.removable else "",
        )
        for row in pepper.generations
    ]
    print_table(("generation", "available", "keys", "ids", "cores", "imported", "signing", ""), rows)
    note(f"Current generation: {pepper.current}. New keys use generation {pepper.writing}, which every live gateway can read.")


def _pepper() -> None:
    """Inspect the generations of the pepper."""
