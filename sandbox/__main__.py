"""Command line of the sandbox: `python -m sandbox up|destroy|down`.

Exit codes: 0 success; 1 a mandatory rule is violated; 2 error.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from gatehouse_policies import command

from sandbox.paths import HOME, REPOSITORY


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are reported as one message on standard
    error, without a traceback.
    """
    options = parser().parse_args(arguments)
    return command.run(lambda: int(options.command(options)), options.home)


def parser() -> argparse.ArgumentParser:
    """Return the parser for all commands."""
    root = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Run Gatehouse on this machine, without an AWS account or the Pulumi CLI.",
    )
    # The folder for logs, reports and the state file. Tests use a separate folder.
    root.add_argument("--home", type=Path, default=HOME, help=argparse.SUPPRESS)
    commands = root.add_subparsers(required=True, metavar="<command>", title="commands")

    text = "Deploy a stack to the AWS emulator and start its services, or update the running stack."
    up = _add_command(commands, "up", _up, text)
    _add_env(up)
    _add_set(up)
    up.add_argument(
        "--detach",
        action="store_true",
        help="Return when all services are ready. Use `down` to stop the services.",
    )

    text = (
        "Delete the resources of the running stack. The emulator continues, and `up` "
        "deploys the stack again."
    )
    _add_command(commands, "destroy", _destroy, text)
    _add_command(commands, "down", _down, "Stop a running `up`, or clean up after a crash.")
    return root


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_command(
    commands: _Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(command=run)
    return command


def _add_env(command: argparse.ArgumentParser) -> None:
    stacks = sorted(
        file.name[len("Pulumi.") : -len(".yaml")] for file in REPOSITORY.glob("Pulumi.*.yaml")
    )
    text = f"Stack: {', '.join(stacks)} (default: dev)."
    command.add_argument("--env", default="dev", metavar="STACK", help=text)


def _add_set(command: argparse.ArgumentParser) -> None:
    text = "Setting to change, such as image.digest=sha256:... Can be repeated."
    command.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help=text
    )


# Each command imports its modules, so that `down` and `--help` do not load Pulumi and moto.


def _up(options: argparse.Namespace) -> int:
    from sandbox.local.run_state import RunStateFile

    running = RunStateFile(options.home).running()
    if running is not None and running.stack == options.env:
        from sandbox.local.requests import send

        return send(options.home, running, "update", options.changes)
    if options.detach:
        from sandbox.local.detach import up_detached

        return up_detached(options.env, options.changes, options.home)
    from sandbox.local.up import up

    return up(options.env, changes=options.changes, home=options.home)


def _destroy(options: argparse.Namespace) -> int:
    from sandbox.local.requests import send
    from sandbox.local.run_state import RunStateFile

    running = RunStateFile(options.home).running()
    if running is None:
        print(
            "Gatehouse is not running, so no resources exist. An emulator keeps its resources "
            "only while it runs."
        )
        return 0
    return send(options.home, running, "destroy")


def _down(options: argparse.Namespace) -> int:
    from sandbox.local.run_state import down

    print(down(options.home))
    return 0


if __name__ == "__main__":
    code = main()
    # Skip the last garbage collection.
    gc.freeze()
    sys.exit(code)
