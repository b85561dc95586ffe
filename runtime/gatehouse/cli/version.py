"""`gatehouse version`: which build this is."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from gatehouse import __version__
from gatehouse.cli.output import print_json


def register(app: typer.Typer) -> None:
    app.command(name="version")(version)


def version(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the version of Gatehouse and of Python."""
    facts = {"gatehouse": __version__, "python": platform.python_version()}
    if as_json:
        print_json(facts)
    else:
        print(" ".join(f"{name} {value}" for name, value in facts.items()))
