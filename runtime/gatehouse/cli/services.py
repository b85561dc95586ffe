"""`gatehouse serve` and `gatehouse migrate`: run the services, and migrate their database."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from gatehouse import settings as configuration
from gatehouse.cli.health import Service
from gatehouse.cli.options import JsonOption
from gatehouse.cli.output import FAILED, print_json
from gatehouse.db.migrations import runner
from gatehouse.db.pool import login
from gatehouse.http import server


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(serve)
    app.command()(migrate)


def serve(
    services: Annotated[list[Service], typer.Argument(help="Services to run: gateway, console, sharing, or several of them.")],
) -> None:
    """Run one or more services until SIGTERM or Ctrl-C.

    Configuration is read from GATEHOUSE_* environment variables. An error names an invalid variable, and no service starts.
    """
    settings = configuration.load()
    server.serve(tuple(service.value for service in dict.fromkeys(services)), settings)


def migrate(
    to: Annotated[
        str, typer.Option("--to", metavar="REVISION", help="Target revision: head, base or an ID such as 0001.")
    ] = "head",
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 if migrations are pending.")] = False,
    downgrade: Annotated[bool, typer.Option("--downgrade", help="Allow a downgrade, which deletes data.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Migrate the database schema to this version. Waits while another migration is running.

    GATEHOUSE_DATABASE_URL, GATEHOUSE_DATABASE_AUTH and GATEHOUSE_DATABASE_PASSWORD must be those of the database owner.
    """
    settings = configuration.load()
    password = settings.database_password.get_secret_value() if settings.database_password else None
    access = login(settings.database_url, settings.database_auth, password)
    outcome = asyncio.run(runner.status(access) if check else runner.migrate(access, to=to, downgrade=downgrade))
    if as_json:
        steps = [{"revision": step.revision, "title": step.title, "undone": step.undone} for step in outcome.steps]
        print_json({"revision": outcome.revision, "steps": steps, "pending": list(outcome.pending)})
    else:
        for step in outcome.steps:
            print(f"{'reverted' if step.undone else 'applied'} {step.revision}  {step.title}", flush=True)
        state = f"{len(outcome.pending)} pending: {', '.join(outcome.pending)}" if outcome.pending else "up to date"
        print(f"{access.database} at {access.address} is at {outcome.revision}: {state}")
    if check and outcome.pending:
        sys.exit(FAILED)
