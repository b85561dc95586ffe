"""Command line of the sandbox: `python -m sandbox up|destroy|down`.

Exit codes: 0 success; 1 a mandatory rule is violated; 2 error.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from pulumi_local import command
from sandbox.paths import HOME, REPOSITORY


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are reported as one message on standard
    error, without a traceback.
    """
    options = parser().parse_args(arguments)
    return command.run(lambda: int(options.command(options)), options.home)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Run Gatehouse on this machine, without an AWS account or the Pulumi CLI.",
    )
    # The folder for logs, reports and the state file. Tests use a separate folder.
    root.add_argument("--home", type=Path, default=HOME, help=argparse.SUPPRESS)
    commands = root.add_subparsers(required=True, metavar="<command>", title="commands")
    for name, (run, text) in {
        "up": (
            _up,
            "Deploy a stack to the AWS emulator and start its services, or update the running "
            "stack.",
        ),
        "destroy": (
            _destroy,
            "Delete the resources of the running stack. The emulator continues, and `up` deploys "
            "the stack again.",
        ),
        "down": (_down, "Stop a running `up`, or clean up after a crash."),
    }.items():
        commands.add_parser(name, help=text, description=text).set_defaults(command=run)
    up, stacks = commands.choices["up"], sorted(REPOSITORY.glob("Pulumi.*.yaml"))
    names = ", ".join(file.name.split(".")[1] for file in stacks)
    up.add_argument("--env", default="dev", metavar="STACK", help=f"Stack: {names} (default: dev).")
    up.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Setting to change, such as image.digest=sha256:... Can be repeated.",
    )
    up.add_argument(
        "--detach",
        action="store_true",
        help="Return when all services are ready. Use `down` to stop the services.",
    )
    return root


# Each command imports its modules, so that `down` and `--help` do not load Pulumi and moto.


def _up(options: argparse.Namespace) -> int:
    from sandbox.local.run_state import RunStateFile

    running = RunStateFile(options.home).running()
    if running is not None and running.stack == options.env:
        from sandbox.local.up_requests import send

        return send(options.home, running, "update", options.changes)
    if options.detach:
        from sandbox.local.detach import up_detached

        return up_detached(options.env, options.changes, options.home)
    from sandbox.local.up import up

    return up(options.env, changes=options.changes, home=options.home)


def _destroy(options: argparse.Namespace) -> int:
    from sandbox.local.run_state import RunStateFile
    from sandbox.local.up_requests import send

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
