"""The `gatehouse` command. Imports only the module of the requested command."""

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gatehouse.commands.cli.common import help_texts
from gatehouse.commands.cli.common.output import FAILED, fail, reject, stop
from gatehouse.core.errors import GatehouseError
from gatehouse.core.tokens.token_scanner import has_token
from gatehouse.platform.startup import no_collection

#: The module that registers each command. Only one is imported, so that a command starts quickly.
COMMANDS = {
    "serve": "services",
    "migrate": "migrate",
    "core": "core",
    "cores": "operations",
    "keys": "keys",
    "customers": "customers",
    "plans": "customers",
    "limits": "customers",
    "secrets": "secrets",
    "audit": "audit",
    "usage": "operations",
    "requests": "operations",
    "find": "operations",
    "import": "transfer",
    "export": "transfer",
    "sessions": "operations",
    "log-level": "operations",
    "logs": "operations",
    "features": "operations",
    "webhooks": "webhooks",
    "scan": "scan",
    "version": "services",
    "whoami": "operations",
    "status": "operations",
}
#: Commands that consist only of subcommands. Without a subcommand, these commands show the help.
GROUPS = [
    *(["cores"], ["keys"], ["customers"], ["plans"], ["limits"], ["secrets"], ["audit"], ["logs"]),
    *(["sessions"], ["webhooks"]),
]
#: Exit code after Ctrl-C.
INTERRUPTED = 130
_HELP = "Manage API keys, share secrets, operate a Gatehouse deployment and run its services."


def command_line(command: str = "") -> Any:
    """Returns the command line of Typer with one command, or with all commands if the command does
    not exist.
    """
    app = typer.Typer(
        name="gatehouse",
        help=_HELP,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=_HELP)(_root)
    for module in [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(f"gatehouse.commands.cli.{module}").register(app)
    root = typer.main.get_command(app)
    help_texts.prepare(root)
    return root


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the versions.")] = False,
) -> None:
    """`main` runs `gatehouse version` for this option."""


def main() -> NoReturn:
    """Runs the command line. Exit codes: 0 success, 1 failure, 2 usage error. An error is one line
    on standard error.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        reject("standard input, standard output and standard error must be open")
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        arguments = ["version"]
    if not arguments or arguments in GROUPS:
        arguments = [*arguments, "--help"]
    try:
        with no_collection():
            command = command_line(arguments[0])
        code = command(arguments, prog_name="gatehouse", standalone_mode=False)
        sys.stdout.flush()
    except GatehouseError as exc:
        fail(exc)
    except typer.TyperException as exc:
        message = exc.format_message().replace("Value error, ", "").rstrip(".")
        context = getattr(exc, "ctx", None)
        path = "gatehouse" if context is None else context.command_path
        if has_token(message):
            message = (
                "a token or a link is an argument, which other users of this machine can read: "
                "send it to standard input"
            )
        reject(f"{message}{'' if message.endswith('?') else '.'} See: {path} --help")
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader has closed the pipe (`| head`)
        _discard_output()
        sys.exit(FAILED)
    except UnicodeEncodeError as exc:  # its text contains the output
        stop(f"the output cannot be written: the locale does not support UTF-8 ({exc.encoding})")
    except OSError as exc:
        _discard_output()
        stop(f"the output cannot be written: {exc.strerror}")
    except Exception as exc:
        # The location is enough to find the defect; the message may contain a secret and is not
        # printed.
        frame = traceback.extract_tb(exc.__traceback__)[-1]
        stop(
            f"internal error: {type(exc).__name__} at "
            f"{Path(frame.filename).name}:{frame.lineno}. Report this error"
        )
    sys.exit(code if isinstance(code, int) else 0)


def _discard_output() -> None:
    """Prevents Python from writing the rest again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
