"""`gatehouse health`: the health check of the container. It runs often and therefore imports little."""

from __future__ import annotations

import os
import urllib.request
from typing import Annotated

import typer

from gatehouse.cli.options import Service
from gatehouse.cli.output import USAGE, stop
from gatehouse.settings import Settings

TIMEOUT_S = 3.0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="health")(health)


def health(
    services: Annotated[list[Service], typer.Argument(help="Services to check: gateway, console, sharing, or several of them.")],
) -> None:
    """Check the liveness of services on this machine. Exits with 0 if every /healthz answers 200, with 1 otherwise."""
    for service in services:
        _check(service, _port(service))
    print("healthy")


def _port(service: Service) -> int:
    text = os.environ.get(f"GATEHOUSE_{service.upper()}_PORT") or str(Settings.model_fields[f"{service}_port"].default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        stop(f"GATEHOUSE_{service.upper()}_PORT must be a port from 1 to 65535", code=USAGE)
    return int(text)


def _check(service: Service, port: int) -> None:
    # The service runs on this machine: ignore the proxy settings of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=TIMEOUT_S) as response:
            status = response.status
    except urllib.error.HTTPError as exc:
        status = exc.code
    except OSError as exc:
        stop(f"{service}: no response from 127.0.0.1:{port} ({getattr(exc, 'reason', None) or exc})")
    if status != 200:
        stop(f"{service}: /healthz on 127.0.0.1:{port} returned {status}")
