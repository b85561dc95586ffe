"""`gatehouse version`: prints the version."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from gatehouse import __version__
from gatehouse.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="version")(version)


def version(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the versions of Gatehouse and Python."""
    versions = {"gatehouse": __version__, "python": platform.python_version()}
    if as_json:
        print_json(versions)
    else:
        print(" ".join(f"{name} {value}" for name, value in versions.items()))
