"""`gatehouse migrate`."""

import asyncio
import sys
from typing import Annotated

import typer

from gatehouse.commands.cli.common.output import FAILED, JsonOption, print_json
from gatehouse.platform import settings as configuration
from gatehouse.platform.db.deployment import Facts
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import database


def register(app: typer.Typer) -> None:
    app.command()(migrate)


def migrate(
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing. Exit with code 1 if migrations are pending."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Migrate the database schema to the version of this release. Waits while another migration is
    running. Changes nothing if the schema is that of a newer release.

    GATEHOUSE_DATABASE_URL, GATEHOUSE_DATABASE_AUTH and GATEHOUSE_DATABASE_PASSWORD must specify the
    database owner.

    Example: gatehouse migrate --check
    """
    settings = configuration.load()
    access = database(settings)
    # Stacks set no other facts for the migration.
    facts = Facts(settings, ["environment"])
    outcome = asyncio.run(
        runner.status(access)
        if check
        else runner.migrate(access, facts, settings.replaced_environment)
    )
    if as_json:
        print_json(outcome)
    else:
        for step in outcome.steps:
            print(f"applied {step.revision}  {step.title}", flush=True)
        state = (
            f"{len(outcome.pending)} pending: {', '.join(outcome.pending)}"
            if outcome.pending
            else "up to date"
        )
        print(f"{access.database} at {access.address} is at {outcome.revision}: {state}")
    if check and outcome.pending:
        sys.exit(FAILED)
