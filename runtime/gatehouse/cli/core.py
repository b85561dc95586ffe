"""`gatehouse core`: the Core agent on this machine."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gatehouse.agent import serve
from gatehouse.agent.lease import Wanted
from gatehouse.cli.connection import read
from gatehouse.cli.output import USAGE, note, stop
from gatehouse.errors import Unavailable

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def register(app: typer.Typer) -> None:
    app.command(name="core")(core)


def core(
    directory: Annotated[Path, typer.Option("--dir", help="Directory to serve.")],
    gateway: Annotated[str, typer.Option(envvar="GATEHOUSE_GATEWAY_URL", help="URL of the gateway.")],
    name: Annotated[str, typer.Option(help="Name of the Core: /cores/<name>/ at the gateway.")],
    token: Annotated[
        str,
        typer.Option(
            envvar="GATEHOUSE_CORE_TOKEN",
            show_envvar=True,
            help="Key with the scope cores:register; - reads it from standard input. Better in the variable: "
            "other users of this machine can read a command line.",
        ),
    ] = "",
    url: Annotated[
        str, typer.Option(help="URL at which the gateway reaches this Core (default: the address it listens on).")
    ] = "",
    url_file: Annotated[
        Path | None,
        typer.Option(help="File that holds that URL, read before every heartbeat: for a tunnel whose address changes."),
    ] = None,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    ttl: Annotated[int, typer.Option(min=5, max=3600, help="Seconds that a lease lasts; renewed every third of it.")] = 30,
) -> None:
    """Serve a directory to a gateway, and to nobody else, until SIGTERM or Ctrl-C.

    GET /files lists it, GET /files/<path> reads a file. Never served: names that begin with a dot, symbolic links (wherever they
    lead), devices, FIFOs, sockets, and anything outside the directory.
    """
    if not directory.is_dir():
        stop(f"--dir {directory} is not a directory", code=USAGE)
    if not _NAME.fullmatch(name):
        stop("--name must be 1 to 40 lower-case letters, digits and inner hyphens, such as docs", code=USAGE)
    _check_url("--gateway", gateway)
    if url and url_file:
        stop("--url and --url-file exclude each other", code=USAGE)
    if url:
        _check_url("--url", url)
    elif url_file is None and bind not in _LOOPBACK:
        stop(f"--bind {bind} needs --url: say at which URL the gateway reaches this Core", code=USAGE)
    place = serve.pick(bind, port)
    secret = read(token, "--token", "GATEHOUSE_CORE_TOKEN")

    def current() -> str:
        return _from_file(url_file) if url_file else (url or place.origin).rstrip("/")

    wanted = Wanted(gateway.rstrip("/"), secret, name, ttl, current)
    asyncio.run(serve.run(directory, place, wanted, note))


def _from_file(path: Path) -> str:
    """Raises Unavailable, which the agent answers by trying again: a tunnel may be writing the file just now."""
    try:
        lines = path.read_text().split()
    except (OSError, UnicodeDecodeError) as exc:
        raise Unavailable(f"--url-file {path} cannot be read ({type(exc).__name__})") from exc
    if len(lines) != 1 or not _is_url(lines[0]):
        raise Unavailable(f"--url-file {path} must hold one URL such as https://docs.example.com")
    return lines[0].rstrip("/")


def _check_url(option: str, value: str) -> None:
    if not _is_url(value):
        stop(f"{option} must be a URL such as https://gateway.example.com", code=USAGE)


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False
