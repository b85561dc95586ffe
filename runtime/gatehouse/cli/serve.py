"""`gatehouse serve`: opens services in this process."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gatehouse import settings as configuration
from gatehouse.http import server


class Door(StrEnum):
    GATEWAY = "gateway"
    CONSOLE = "console"
    SHARE = "sharing"


def register(app: typer.Typer) -> None:
    app.command(name="serve")(serve)


def serve(
    services: Annotated[list[Door], typer.Argument(help="What to open: gateway, console, share, or several of them.")],
) -> None:
    """Open one or more services and serve until SIGTERM or Ctrl-C.

    Everything else comes from GATEHOUSE_* variables; a wrong one is named and nothing starts.
    """
    settings = configuration.load()
    server.serve(tuple(service.value for service in dict.fromkeys(services)), settings)
