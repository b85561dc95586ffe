"""Which console a command speaks to, and with which credential: options, variables, or what `make up` left behind.

Where a command gets its token from: a variable, standard input, or (discouraged) the command line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gatehouse.cli.output import USAGE, stop
from gatehouse.client.console import ConsoleClient
from gatehouse.client.http import Retries

#: Written by `make up DETACH=1` beside the Makefile.
UP_FILE = Path(".gatehouse/up.json")


#: Somebody waits at a terminal: a second or so for a console that is just being replaced.
PATIENCE = Retries(attempts=3, wait_s_max=5.0)


ConsoleOption = Annotated[
    str,
    typer.Option(
        "--console",
        envvar="GATEHOUSE_CONSOLE_URL",
        show_envvar=True,
        help=f"URL of the console. Default: the one in {UP_FILE} of the current directory, when `make up` left one.",
    ),
]


TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="GATEHOUSE_ADMIN_TOKEN",
        show_envvar=True,
        help=f"Admin credential; - reads it from standard input. Default: the one in {UP_FILE}, with its console. "
        "Better in the variable: other users of this machine can read a command line.",
    ),
]


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def connect(console: str, token: str) -> ConsoleClient:
    """A client. Ends the process with a message when address or credential are missing or malformed."""
    left = _left_by_up()
    # The token of the file belongs to its console: it is never sent anywhere else.
    ours = not console or console.rstrip("/") == left.get("console", "").rstrip("/")
    console = console or left.get("console", "")
    token = token or (left.get("admin_token", "") if ours else "")
    if not console:
        stop(
            "no console: set GATEHOUSE_CONSOLE_URL or use --console https://console.example.com; here, `make up` starts one",
            code=USAGE,
        )
    if not _is_url(console):
        stop("--console must be a URL such as https://console.example.com", code=USAGE)
    return ConsoleClient(console, read(token, "--token", "GATEHOUSE_ADMIN_TOKEN"), retries=PATIENCE)


def _left_by_up() -> dict[str, str]:
    try:
        found = json.loads(UP_FILE.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        stop(f"{UP_FILE} cannot be read: run make down, then make up DETACH=1 again")
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


_CHARS_MAX = 512


def read(given: str, option: str, variable: str) -> str:
    """The token; `-` reads one line of standard input. Ends the process with a message when there is none."""
    token = sys.stdin.readline().strip() if given == "-" else given.strip()
    if not token:
        stop(f"no token: set {variable}, or use {option} - and give it on standard input", code=USAGE)
    if len(token) > _CHARS_MAX or not token.isascii() or not token.isprintable() or " " in token:
        stop(f"the token in {option} or {variable} is no token: it holds spaces or characters that no token has", code=USAGE)
    return token
