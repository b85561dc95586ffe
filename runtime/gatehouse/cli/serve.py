"""`gatehouse serve`: runs services in this process."""

from __future__ import annotations

from typing import Annotated

import typer

from gatehouse import settings as configuration
from gatehouse.cli.options import Service
from gatehouse.http import server


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="serve")(serve)


def serve(
    services: Annotated[list[Service], typer.Argument(help="Services to run: gateway, console, sharing, or several of them.")],
) -> None:
    """Run one or more services until SIGTERM or Ctrl-C.

    Configuration is read from GATEHOUSE_* environment variables. If one is invalid, the error names it and nothing starts.
    """
    settings = configuration.load()
    server.serve(tuple(service.value for service in dict.fromkeys(services)), settings)
