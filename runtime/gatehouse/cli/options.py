"""Options and arguments that several commands share, and the parsing of their values."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gatehouse.cli.output import USAGE, stop

#: Written by `make up DETACH=1` next to the Makefile.
UP_FILE = Path(".gatehouse/up.json")

ConsoleOption = Annotated[
    str,
    typer.Option(
        "--console",
        envvar="GATEHOUSE_CONSOLE_URL",
        show_envvar=True,
        help=f"URL of the console. Default: the console in {UP_FILE} of the current directory, which `make up` writes.",
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="GATEHOUSE_ADMIN_TOKEN",
        show_envvar=True,
        help=f"Admin credential; `-` reads it from standard input. Default: the credential in {UP_FILE}. "
        "Prefer the environment variable: other users of this machine can read command lines.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyIdArgument = Annotated[str, typer.Argument(metavar="ID", help="Key ID: the 12 characters after the environment in a token.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Reason, recorded in the audit trail.")]
LastAdminOption = Annotated[
    bool, typer.Option("--allow-last-admin", help="Allow the change for the last key that can manage keys.")
]
LIMIT_FORM = "[NAME=]QUOTA/WINDOW[:BURST]"
CREDITS_FORM = "N[:AMOUNT/PERIOD]"

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_KEY_ID = re.compile(r"[0-9A-Za-z]{12}", re.ASCII)
_LIMIT = re.compile(r"(?:([a-z][a-z0-9_.-]{0,63})=)?([0-9]{1,10})/([0-9]{1,9}[smhdw]?)(?::([0-9]{1,10}))?", re.ASCII)
_CREDITS = re.compile(r"([0-9]{1,13})(?::([0-9]{1,13})/(hour|day|week|month))?", re.ASCII)


class Service(StrEnum):
    """A service of the container image."""

    GATEWAY = "gateway"
    CONSOLE = "console"
    SHARING = "sharing"


def key_id(text: str) -> str:
    """Returns the key ID. Exits with a usage error if the text is not one, without printing it: it may be a token."""
    if not _KEY_ID.fullmatch(text):
        stop("ID must be a key ID of 12 letters and digits (see `gatehouse keys list`), not a token", code=USAGE)
    return text


def seconds(option: str, text: str) -> int:
    """Returns a duration such as `90d` in seconds. Exits with a usage error if it is malformed."""
    match = _DURATION.fullmatch(text)
    if match is None:
        stop(f"{option} must be a duration such as 90d, 12h, 30m or 45s", code=USAGE)
    return int(match[1]) * _UNITS_S[match[2] or "s"]


def rate_limit(text: str) -> dict[str, Any]:
    """Returns the request form of `--limit`. Exits with a usage error if it is malformed."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        stop(f"--limit must be {LIMIT_FORM}, such as 100/1m or daily=10000/1d:500", code=USAGE)
    name, quota, window, burst = match.groups()
    limit: dict[str, Any] = {"name": name or "requests", "quota": int(quota), "window_s": seconds("--limit", window)}
    return {**limit, "burst": int(burst)} if burst else limit


def credits_plan(text: str) -> dict[str, Any]:
    """Returns the request form of `--credits`. Exits with a usage error if it is malformed."""
    match = _CREDITS.fullmatch(text)
    if match is None:
        stop("--credits must be N or N:AMOUNT/PERIOD, such as 5000 or 5000:5000/month", code=USAGE)
    remaining, amount, every = match.groups()
    return {"remaining": int(remaining), **({"refill": {"amount": int(amount), "every": every}} if amount else {})}


def non_empty(**lists: list[Any] | None) -> dict[str, Any]:
    """Returns the lists that have at least one item."""
    return {name: values for name, values in lists.items() if values}
