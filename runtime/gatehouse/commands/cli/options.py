"""Registers commands that call the console, defines the options that several commands share, and
parses option values.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from gatehouse.client.http import Retries
from gatehouse.client.services import ConsoleClient
from gatehouse.commands.cli.output import USAGE, print_json, stop
from gatehouse.core import notation

#: Written by `make up DETACH=1` next to the Makefile.
UP_FILE = Path(".gatehouse/up.json")

ConsoleOption = Annotated[
    str,
    typer.Option(
        "--console",
        envvar="GATEHOUSE_CONSOLE_URL",
        show_envvar=True,
        help=(
            f"URL of the console. Default: the URL in {UP_FILE}, which `make up` writes to "
            f"the current directory."
        ),
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="GATEHOUSE_ADMIN_TOKEN",
        show_envvar=True,
        help=f"Admin credential; `-` reads the credential from standard input. Default: the "
        f"credential in {UP_FILE}. "
        "Prefer the environment variable: other users of this machine can read command lines.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyIdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Key ID: the 12 characters after the environment in a token."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Reason, recorded in the audit trail.")]
LastAdminOption = Annotated[
    bool,
    typer.Option(
        "--allow-last-admin", help="Proceed even if this is the last key that can manage keys."
    ),
]
#: The retries cover a restart of the console, but not more, because a user is waiting for the
#: command.
RETRIES = Retries(attempts=3, wait_s_max=5.0)
_TOKEN_MAX_CHARS = 512

CREDITS_FORM = "N[:AMOUNT/PERIOD]"

_KEY_ID = re.compile(r"[0-9A-Za-z]{12}", re.ASCII)
_CREDITS = re.compile(r"([0-9]{1,13})(?::([0-9]{1,13})/(hour|day|week|month))?", re.ASCII)


#: Result of a command: the value that --json prints, and a function that prints the result for
#: people.
Output = tuple[object, Callable[[], None]]


def console_command(
    app: typer.Typer, name: str = "", *, help: str = "", options: Sequence[inspect.Parameter] = ()
) -> Callable[[Callable[..., Output]], None]:
    """Decorator that registers a command of the console, with the options --console, --token and
    --json.

    The command receives a client as its first argument. options: parameters that the command
    receives as `**settings`.
    """

    def register(command: Callable[..., Output]) -> None:
        def run(
            console: ConsoleOption = "",
            token: TokenOption = "",
            as_json: JsonOption = False,
            **arguments: Any,
        ) -> None:
            with connect(console, token) as client:
                value, show = command(client, **arguments)
            if as_json:
                print_json(value)
            else:
                show()

        own = list(inspect.signature(command, eval_str=True).parameters.values())[
            1 : -1 if options else None
        ]
        shared = list(inspect.signature(run, eval_str=True).parameters.values())[:-1]
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in (*options, *own, *shared)
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__ = command.__doc__
        app.command(name=name or command.__name__, help=help or None)(run)

    return register


def key_id(text: str) -> str:
    """Returns the key ID. Exits with a usage error if the text is not a key ID. The text is not
    printed, because it may be a token."""
    if not _KEY_ID.fullmatch(text):
        stop(
            "ID must be a key ID of 12 letters and digits (see `gatehouse keys list`), not a token",
            code=USAGE,
        )
    return text


def seconds(option: str, text: str) -> int:
    """Returns a duration such as `90d` in seconds. Exits with a usage error if the duration is
    malformed.
    """
    seconds = notation.duration_s(text)
    if seconds is None:
        stop(f"{option} must be a duration such as 90d, 12h, 30m or 45s", code=USAGE)
    return seconds


def rate_limit(text: str) -> dict[str, Any]:
    """Returns the rate limit in a `--limit` value, as a request field. Exits with a usage error if
    the value is malformed.
    """
    limit = notation.rate_limit(text)
    if limit is None:
        stop(
            f"--limit must be {notation.RATE_LIMIT_FORM}, such as 100/1m (100 units per minute)"
            " or daily=10000/1d:500 (10000 units per day, at most 500 at once)",
            code=USAGE,
        )
    return limit


def credits_plan(text: str) -> dict[str, Any]:
    """Returns the credits in a `--credits` value, as a request field. Exits with a usage error if
    the value is malformed.
    """
    match = _CREDITS.fullmatch(text)
    if match is None:
        stop(
            "--credits must be N or N:AMOUNT/PERIOD, such as 5000 (no refill)"
            " or 5000:5000/month (refill to 5000 credits every month)",
            code=USAGE,
        )
    remaining, amount, every = match.groups()
    return {
        "remaining": int(remaining),
        **({"refill": {"amount": int(amount), "every": every}} if amount else {}),
    }


def connect(console: str, token: str) -> ConsoleClient:
    """Returns a client. Exits with a usage error if the address or the credential is missing or
    malformed.
    """
    running = _read_up_file()
    # The token in the file belongs to the console in the file and is never sent to another console.
    same_console = not console or console.rstrip("/") == running.get("console", "").rstrip("/")
    console = console or running.get("console", "")
    token = token or (running.get("admin_token", "") if same_console else "")
    if not console:
        stop(
            (
                "no console: set GATEHOUSE_CONSOLE_URL, use --console https://console.example.com, "
                "or run `make up`"
            ),
            code=USAGE,
        )
    if not is_url(console):
        stop("--console must be a URL such as https://console.example.com", code=USAGE)
    return ConsoleClient(
        console, read_token(token, "--token", "GATEHOUSE_ADMIN_TOKEN"), retries=RETRIES
    )


def read_token(value: str, option: str, variable: str) -> str:
    """Returns the token. If `value` is `-`, reads one line from standard input. Exits with a usage
    error if the token is missing or malformed."""
    token = sys.stdin.readline().strip() if value == "-" else value.strip()
    if not token:
        stop(
            f"no token: set {variable}, or use {option} - and write it to standard input",
            code=USAGE,
        )
    if (
        len(token) > _TOKEN_MAX_CHARS
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        stop(
            (
                f"the value of {option} or {variable} contains characters that are not allowed in "
                f"a token"
            ),
            code=USAGE,
        )
    return token


def is_url(text: str) -> bool:
    """True for an http or https URL with a host and without credentials."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.username is None
            and parts.port != 0
        )
    except ValueError:
        return False


def _read_up_file() -> dict[str, str]:
    """Content of the file. Empty if the file does not exist, or if the file or its folder
    belongs to another user. Such a file could specify a console that receives the credential of
    this user."""
    try:
        if UP_FILE.parent.lstat().st_uid != os.geteuid() or UP_FILE.lstat().st_uid != os.geteuid():
            return {}
        content = json.loads(UP_FILE.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        stop(f"{UP_FILE} cannot be read: run `make down`, then `make up DETACH=1`")
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str)}
