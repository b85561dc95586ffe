"""`gatehouse serve` and `version`. Little is imported, so that the command line starts quickly."""

import platform
from enum import StrEnum
from typing import Annotated

import typer

from gatehouse import __version__
from gatehouse.commands.cli.common.output import JsonOption, print_json


class Service(StrEnum):
    GATEWAY = "gateway"
    CONSOLE = "console"
    SHARING = "sharing"


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(version)


def serve(
    services: Annotated[
        list[Service],
        typer.Argument(help="Services to run: gateway, console, sharing, or several of them."),
    ],
) -> None:
    """Run one or more services until SIGTERM or Ctrl-C.

    Configuration is read from GATEHOUSE_* environment variables. If a variable is invalid, an error
    names the variable and no service starts.

    Example: gatehouse serve gateway
    """
    from gatehouse.platform import supervisor
    from gatehouse.platform.settings import load

    settings = load()
    supervisor.serve(tuple(service.value for service in dict.fromkeys(services)), settings)


def version(as_json: JsonOption = False) -> None:
    """Print the versions of Gatehouse and Python.

    Example: gatehouse version --json
    """
    versions = {"gatehouse": __version__, "python": platform.python_version()}
    if as_json:
        print_json(versions)
    else:
        print(" ".join(f"{name} {value}" for name, value in versions.items()))
