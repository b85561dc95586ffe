"""`gatehouse pepper`: how far a rotation of the pepper has come."""

from __future__ import annotations

import typer

from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import note, print_json, print_table


def register(app: typer.Typer) -> None:
    pepper = typer.Typer(help="The secret under which keys are stored, and its generations.")
    pepper.callback()(_group)
    pepper.command()(status)
    app.add_typer(pepper, name="pepper")


def status(console: ConsoleOption = "", token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show what every generation is still needed for. Keys move to the newest one when they are used."""
    with connect(console, token) as client:
        found = client.pepper_status()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = [
        (
            str(one.generation),
            "yes" if one.held else "MISSING",
            str(one.keys),
            str(one.ids),
            str(one.cores),
            str(one.imported),
            str(one.signing),
            "may be removed" if one.removable else "",
        )
        for one in found.generations
    ]
    print_table("", ("generation", "held", "keys", "ids", "cores", "imported", "signing", ""), rows)
    note(f"current {found.current}; new keys are stored under {found.writing}, the newest that every live gateway holds")


def _group() -> None:
    """The secret under which keys are stored, and its generations."""
