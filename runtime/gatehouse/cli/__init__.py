"""The `gatehouse` command: finds the module of a command by its name, so that a container's health check loads no web server."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import typer

from gatehouse.cli.output import FAILED, USAGE, fail, stop
from gatehouse.errors import GatehouseError

#: Command -> the module that registers it. Only the module that is asked for is loaded: `gatehouse health` starts in a third
#: of the time that loading all of them takes, and a container runs it every few seconds.
COMMANDS = {
    "serve": "gatehouse.cli.serve",
    "migrate": "gatehouse.cli.migrate",
    "core": "gatehouse.cli.core",
    "keys": "gatehouse.cli.keys",
    "audit": "gatehouse.cli.audit",
    "pepper": "gatehouse.cli.pepper",
    "usage": "gatehouse.cli.usage",
    "import": "gatehouse.cli.transfer",
    "export": "gatehouse.cli.transfer",
    "sessions": "gatehouse.cli.sessions",
    "log-level": "gatehouse.cli.operations",
    "features": "gatehouse.cli.operations",
    "scan": "gatehouse.cli.scan",
    "health": "gatehouse.cli.health",
    "version": "gatehouse.cli.version",
}


#: Commands that only hold others: alone, they show their help.
GROUPS = (["keys"], ["audit"], ["pepper"], ["sessions"])


INTERRUPTED = 130


def build(wanted: str = "") -> typer.Typer:
    """The command line with the command `wanted` alone, or with all of them when there is no such command."""
    app = typer.Typer(
        name="gatehouse",
        help="API keys in front of your services, and the Cores behind them.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for module in [COMMANDS[wanted]] if wanted in COMMANDS else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(module).register(app)
    return app


def main() -> NoReturn:
    """Runs the command line. Exit codes: 0 done, 1 it did not work, 2 wrong usage. An error is one line on stderr."""
    arguments = sys.argv[1:]
    if not arguments or arguments in GROUPS:
        arguments = [*arguments, "--help"]
    try:
        code = build(arguments[0])(arguments, prog_name="gatehouse", standalone_mode=False)
    except GatehouseError as exc:
        fail(exc)
    except typer.TyperException as exc:
        stop(f"{exc.format_message()} See: gatehouse {arguments[0] if arguments[0] in COMMANDS else ''} --help", code=USAGE)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing more to say, and Python must not try to at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as exc:
        # A mistake of ours. Its place helps whoever mends it; its text may hold a value and is left out.
        place = traceback.extract_tb(exc.__traceback__)[-1]
        stop(f"this should not happen: {type(exc).__name__} at {Path(place.filename).name}:{place.lineno}. Please report it")
    sys.exit(code if isinstance(code, int) else 0)


def _root() -> None:
    """API keys in front of your services, and the Cores behind them."""
