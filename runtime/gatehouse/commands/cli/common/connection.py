"""Connects commands with the console: options, profiles, retries and errors."""

import hmac
import json
import os
import re
import secrets
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import gatehouse_client
import msgspec
import typer
from gatehouse_client import ApiError, ConsoleClient, Retries
from gatehouse_client.credentials import credential, trimmed
from gatehouse_client.errors import Reply

from gatehouse.commands.cli.common.output import note, reject, stop
from gatehouse.core.errors import BadRequest, GatehouseError, Problem
from gatehouse.core.http.origin import parse_base_url
from gatehouse.core.tokens.imported_tokens import TOKEN_CHARS_MAX

_Response = TypeVar("_Response")

#: Names and addresses of this machine.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

#: Written by `make up DETACH=1` next to the Makefile.
UP_FILE = Path(".gatehouse/up.json")
_UP_FILE_CHARS = 65_536

ConsoleOption = Annotated[
    str,
    typer.Option(
        "--console",
        envvar="GATEHOUSE_CONSOLE_URL",
        show_envvar=True,
        help=(
            f"URL of the console. Default without a token: the URL in {UP_FILE}, which `make up` "
            f"writes to the current directory."
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
ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        envvar="GATEHOUSE_PROFILE",
        show_envvar=True,
        help="A deployment in ~/.config/gatehouse/profiles.toml: a table of this name with "
        "`console` and `token`. Only you may be able to read the file.",
    ),
]
RepeatOption = Annotated[
    str,
    typer.Option(
        "--repeat",
        metavar="CODE",
        help="Code that an interrupted command has printed. With the same options and the same "
        "input, the command returns the first result, within 24 hours, and creates nothing twice.",
    ),
]
_CODE = re.compile(r"[\w-]{43}", re.ASCII)
#: The retries cover a restart of the console, but not more, because a user is waiting for the
#: command.
RETRIES = Retries(attempts=3, wait_s_max=5.0)


class CommandClient(ConsoleClient):
    """The client of a command, which says what the names in its requests mean.

    code: random text for a command whose result is shown once, from which the command derives its
    Idempotency-Keys and every secret that it generates. The same command with the same code sends
    the same requests. is_repeated: the code is that of --repeat.
    """

    code = ""
    is_repeated = False
    #: Names that the command has explained.
    _resolved: frozenset[str] = frozenset()

    def _exchange(
        self, method: str, path: str, arguments: dict[str, Any], deadline: float
    ) -> Reply:
        reply = super()._exchange(method, path, arguments, deadline)
        resolved = frozenset(reply.headers.get_list("Gatehouse-Resolved"))
        for text in sorted(resolved - self._resolved):
            note(text.replace("=", " ", 1))
        self._resolved |= resolved
        return reply

    def call(
        self,
        response: type[_Response],
        method: str,
        path: str,
        request: dict[str, Any] | None = None,
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> _Response:
        if self.code and method == "POST":
            idempotency_key = self.derive("idempotency key", path.encode()).hex()[:32]
        return super().call(
            response, method, path, request, version=version, idempotency_key=idempotency_key
        )

    def derive(self, purpose: str, content: bytes = b"") -> bytes:
        """64 bytes, which are random to everybody without the code."""
        message = f"gatehouse {purpose}\0".encode() + content
        return hmac.digest(self.code.encode(), message, "sha512")

    @contextmanager
    def repeatable(self, code: str) -> Iterator[None]:
        """Names the code if the result of the command remains unknown. code: of --repeat."""
        if code and not _CODE.fullmatch(code):
            reject("--repeat must be the code of 43 characters that the command has printed")
        self.code, self.is_repeated = code or secrets.token_urlsafe(32), bool(code)
        try:
            yield
        except (gatehouse_client.Unavailable, KeyboardInterrupt):
            note(
                "The result is unknown. To receive it, run the same command with --repeat "
                f"{self.code} within 24 hours. Keep the code as secret as the result."
            )
            raise


@contextmanager
def api_errors() -> Iterator[None]:
    """Raises the error of a client as a GatehouseError, which the command prints."""
    try:
        yield
    except ApiError as exc:
        kind = BadRequest if isinstance(exc, gatehouse_client.BadRequest) else GatehouseError
        problems = (Problem(item.location, item.message, item.fix) for item in exc.errors)
        raise kind(exc.message, errors=tuple(problems)) from exc


def connect(console: str, token: str, profile: str = "") -> CommandClient:
    """Returns a client. Exits with a usage error if the address or the credential is missing or
    malformed.
    """
    if profile:
        if console or token:
            reject(
                f"--profile {profile} cannot be used with --console, --token or their variables "
                "GATEHOUSE_CONSOLE_URL and GATEHOUSE_ADMIN_TOKEN"
            )
        selected = _read_profile(profile)
        console, token = selected.console, selected.token
    running = _read_up_file()
    # The file is used as a whole: its token is never sent to another console, and another token is
    # never sent to its console, which a cloned repository could name.
    if not token and console.rstrip("/") in ("", running.get("console", "").rstrip("/")):
        console, token = running.get("console", ""), running.get("admin_token", "")
    if not console:
        reject(
            "no console: set GATEHOUSE_CONSOLE_URL, use --console https://console.example.com, "
            "or run `make up`"
        )
    if not is_url(console):
        reject("--console must be a URL such as https://console.example.com")
    source = f"profile {profile}" if profile else ""
    return CommandClient(
        console, read_token(token, "GATEHOUSE_ADMIN_TOKEN", source), retries=RETRIES
    )


def read_token(value: str, variable: str, source: str = "") -> str:
    """Returns the token without white space around it. If `value` is `-`, reads one line from
    standard input. Exits with a usage error if the token is missing or malformed.

    source: of the token. Default: the option or the variable.
    """
    token = trimmed(sys.stdin.readline() if value == "-" else value)
    if not token:
        reject(f"no token: set {variable}, or use --token - and write it to standard input")
    name = f"token of {source or f'--token or {variable}'}"
    if len(token) > TOKEN_CHARS_MAX:
        reject(f"the {name} has more than {TOKEN_CHARS_MAX} characters")
    with api_errors():
        return credential(name, token)


def is_url(text: str) -> bool:
    """True for an http or https URL to which paths can be appended."""
    try:
        return bool(parse_base_url(text))
    except ValueError:
        return False


class _Profile(msgspec.Struct):
    console: str
    token: str


def _read_profile(name: str) -> _Profile:
    """Exits with a usage error that never contains the credential."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = folder / "gatehouse" / "profiles.toml"
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                reject(f"others can read or change {path}: run `chmod 600 {path}`")
            profiles = tomllib.load(file)
    except OSError as exc:
        reject(f"the profiles cannot be read from {path}: {exc.strerror}")
    except ValueError:
        reject(f"{path} is not valid TOML")
    if name not in profiles:
        reject(f"{path} has no profile {name}. Profiles: {', '.join(profiles) or 'none'}")
    try:
        profile = msgspec.convert(profiles[name], _Profile)
    except msgspec.ValidationError:
        profile = _Profile("", "")
    if not (profile.console and profile.token):
        reject(f"the profile {name} in {path} must have `console` and `token`, both text")
    return profile


def _read_up_file() -> dict[str, str]:
    """Content of the file. Empty if the file does not exist, if the file or its folder belongs to
    another user, or if the console is not on this machine: the file could be part of a repository,
    and its console would receive the credential of this user."""
    try:
        if UP_FILE.parent.lstat().st_uid != os.geteuid() or UP_FILE.lstat().st_uid != os.geteuid():
            return {}
        with UP_FILE.open() as file:
            content = json.loads(file.read(_UP_FILE_CHARS))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        stop(f"{UP_FILE} cannot be read: run `make down`, then `make up DETACH=1`")
    if not isinstance(content, dict) or not _is_local(content.get("console")):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str)}


def up_gateway(console: str) -> str:
    """URL of the gateway of `make up` with this console, or an empty string."""
    running = _read_up_file()
    return running.get("gateway", "") if running.get("console", "").rstrip("/") == console else ""


def _is_local(url: object) -> bool:
    try:
        address = parse_base_url(str(url)).address
    except ValueError:
        return False
    return address is not None and address.is_loopback
