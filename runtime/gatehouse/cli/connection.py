"""Connection of a command to the console: address and credential from options, variables or a running `make up`."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

from gatehouse.cli.options import UP_FILE
from gatehouse.cli.output import USAGE, stop
from gatehouse.client.console import ConsoleClient
from gatehouse.client.http import Retries

#: A person waits at the terminal: bridge the restart of a console, no more.
RETRIES = Retries(attempts=3, wait_s_max=5.0)
_TOKEN_MAX_CHARS = 512


def connect(console: str, token: str) -> ConsoleClient:
    """Returns a client. Exits with a usage error if the address or the credential is missing or malformed."""
    running = _read_up_file()
    # The token of the file belongs to its console and is never sent to another one.
    same_console = not console or console.rstrip("/") == running.get("console", "").rstrip("/")
    console = console or running.get("console", "")
    token = token or (running.get("admin_token", "") if same_console else "")
    if not console:
        stop("no console: set GATEHOUSE_CONSOLE_URL, use --console https://console.example.com, or run `make up`", code=USAGE)
    if not is_url(console):
        stop("--console must be a URL such as https://console.example.com", code=USAGE)
    return ConsoleClient(console, read_token(token, "--token", "GATEHOUSE_ADMIN_TOKEN"), retries=RETRIES)


def read_token(value: str, option: str, variable: str) -> str:
    """Returns the token; `-` reads one line of standard input. Exits with a usage error if it is missing or malformed."""
    token = sys.stdin.readline().strip() if value == "-" else value.strip()
    if not token:
        stop(f"no token: set {variable}, or use {option} - and write it to standard input", code=USAGE)
    if len(token) > _TOKEN_MAX_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        stop(f"the value of {option} or {variable} is not a token: it contains characters that tokens do not have", code=USAGE)
    return token


def is_url(text: str) -> bool:
    """True for an http or https URL with a host and without credentials."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def _read_up_file() -> dict[str, str]:
    try:
        content = json.loads(UP_FILE.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        stop(f"{UP_FILE} cannot be read: run `make down`, then `make up DETACH=1`")
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str)}
