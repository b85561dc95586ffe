"""`gatehouse serve`: opens doors in this process."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gatehouse import server
from gatehouse import settings as configuration


class Door(StrEnum):
    GATE = "gate"
    CONSOLE = "console"
    SHARE = "share"


def register(app: typer.Typer) -> None:
    app.command(name="serve")(serve)


def serve(
    doors: Annotated[list[Door], typer.Argument(help="What to open: gate, console, share, or several of them.")],
) -> None:
    """Open one or more doors and serve until SIGTERM or Ctrl-C.

    Everything else comes from GATEHOUSE_* variables; a wrong one is named and nothing starts.
    """
    settings = configuration.load()
    server.serve(tuple(door.value for door in dict.fromkeys(doors)), settings)
