"""`gatehouse health`: asks a service of this machine whether it lives; a container's health check runs it, so it loads little."""

from __future__ import annotations

import os
import urllib.request
from enum import StrEnum
from typing import Annotated

import typer

from gatehouse.cli.output import USAGE, stop
from gatehouse.settings import Settings

TIMEOUT_S = 3.0


class Door(StrEnum):
    GATEWAY = "gateway"
    CONSOLE = "console"
    SHARE = "sharing"


def register(app: typer.Typer) -> None:
    app.command(name="health")(health)


def health(
    services: Annotated[list[Door], typer.Argument(help="Services to ask: gateway, console, share, or several.")],
) -> None:
    """Exit 0 when every named service answers /healthz on 127.0.0.1, 1 otherwise. Made for the health checks of containers."""
    for service in services:
        _ask(service, _port(service))
    print("healthy")


def _port(service: Door) -> int:
    text = os.environ.get(f"GATEHOUSE_{service.upper()}_PORT") or str(Settings.model_fields[f"{service}_port"].default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        stop(f"GATEHOUSE_{service.upper()}_PORT must be a port from 1 to 65535", code=USAGE)
    return int(text)


def _ask(service: Door, port: int) -> None:
    # Never through a proxy of the environment: the service is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=TIMEOUT_S) as reply:
            status = reply.status
    except urllib.error.HTTPError as exc:
        status = exc.code
    except OSError as exc:
        stop(f"{service}: nothing answers on 127.0.0.1:{port} ({getattr(exc, 'reason', None) or exc})")
    if status != 200:
        stop(f"{service}: /healthz on 127.0.0.1:{port} answers {status}")
