"""Command line of the sandbox: `python -m sandbox up|destroy|down|check|export|graph|diff|prowler`.

Exit codes: 0 success; 1 a mandatory rule is violated, an update loses data, or a serious finding is not accepted; 2 error.
"""

import argparse
import errno
import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from sandbox.child_processes import WITHOUT_AWS_PROFILE
from sandbox.errors import SandboxError
from sandbox.paths import HOME, IN_REPOSITORY, REPOSITORY, private_folder, write_private

_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are reported as one message on standard error, without a traceback."""
    options = parser().parse_args(arguments)
    _clear_aws_environment()
    try:
        return int(options.command(options))
    except SandboxError as problem:
        sys.stderr.write(f"error: {problem.message}\n")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
    except BrokenPipeError:
        # The reader of the pipe has exited (`| head`).
        sys.stderr.close()
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
            sys.stderr.write("error: a disk is full. `df -h` lists the disks. Free space, and run the command again.\n")
            return _ERROR
        file = options.home / "error.log"
        private_folder(options.home)
        write_private(file, traceback.format_exc())
        sys.stderr.write(f"error: unexpected {type(problem).__name__} in the sandbox: {problem}. Traceback: {file}\n")
    return _ERROR


def parser() -> argparse.ArgumentParser:
    """Return the parser for all commands; for `check` only in the installed package `gatehouse-policies`."""
    root = argparse.ArgumentParser(
        prog="python -m sandbox" if IN_REPOSITORY else "gatehouse-policies",
        description="Run Gatehouse on this machine and check Pulumi programs, without an AWS account or the Pulumi CLI.",
    )
    # The folder for logs, reports and the state file. Tests use a separate folder.
    root.add_argument("--home", type=Path, default=HOME, help=argparse.SUPPRESS)
    commands = root.add_subparsers(required=True, metavar="<command>", title="commands")
    if not IN_REPOSITORY:
        _add_check(commands)
        return root

    text = "Deploy a stack to the AWS emulator and start its services, or update the running stack."
    up = _add_command(commands, "up", _up, text)
    _add_env(up)
    _add_set(up)
    up.add_argument("--detach", action="store_true", help="Return when all services are ready. Use `down` to stop the services.")

    text = "Delete the resources of the running stack. The emulator continues, and `up` deploys the stack again."
    _add_command(commands, "destroy", _destroy, text)
    _add_command(commands, "down", _down, "Stop a running `up`, or clean up after a crash.")
    _add_check(commands)

    export = _add_command(commands, "export", _export, "Write the deployment in the format of `pulumi stack export`.")
    _add_env(export)
    _add_program(export)
    _add_output(export)

    graph = _add_command(
        commands, "graph", _graph, "Draw the components of a stack and their connections as a Mermaid flowchart."
    )
    _add_env(graph)
    _add_output(graph)

    changes = "Show which resources a settings change creates, updates, replaces and deletes."
    diff = _add_command(commands, "diff", _diff, changes)
    _add_env(diff)
    _add_set(diff)

    prowler = _add_command(commands, "prowler", _prowler, "Deploy a stack to the AWS emulator and scan it with Prowler.")
    _add_env(prowler, default="prod")
    return root


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_command(
    commands: _Commands, name: str, run: Callable[[argparse.Namespace], int], text: str, epilog: str = ""
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text, epilog=epilog)
    command.set_defaults(command=run)
    return command


def _add_check(commands: _Commands) -> None:
    text = "Check a Pulumi program or an exported stack with the policy packs."
    exit_codes = "Exit codes: 0 no mandatory rule is violated, 1 a mandatory rule is violated, 2 the check could not run."
    check = _add_command(commands, "check", _check, text, exit_codes)
    _add_env(check, default="")
    subject = check.add_mutually_exclusive_group()
    _add_program(subject)
    state = "Check the output of `pulumi stack export` instead of a program."
    subject.add_argument("--state", type=Path, metavar="FILE", help=state)
    levels = "Environment whose enforcement levels apply: dev, staging or prod (default: from the stack)."
    check.add_argument("--levels", default="", metavar="NAME", help=levels)
    packs = "Folder of an additional policy pack. Can be repeated."
    check.add_argument("--pack", type=Path, action="append", default=[], metavar="DIR", help=packs)
    check.add_argument("--exemptions", type=Path, metavar="FILE", help="Exemptions file (default: policies/exemptions.toml).")
    configuration = "Configuration file: Regions, required tags, public routes and levels (docs/guides/policies.md)."
    check.add_argument("--config", type=Path, metavar="FILE", help=configuration)
    check.add_argument("--ignore-exemptions", action="store_true", help="Apply no exemptions.")
    formats = ("table", "json", "sarif", "junit", "markdown")
    check.add_argument("--format", default="table", choices=formats, help="Output format (default: table).")
    _add_output(check)
    passes = "Run with unknown outputs as in a first preview, with known outputs, or both (default: both)."
    check.add_argument("--pass", dest="passes", default="both", choices=("unknown", "known", "both"), help=passes)


def _add_env(command: argparse.ArgumentParser, default: str = "dev") -> None:
    stacks = sorted(file.name[len("Pulumi.") : -len(".yaml")] for file in REPOSITORY.glob("Pulumi.*.yaml"))
    described = default or "dev; with --state, the stack in the file"
    text = f"Stack: {', '.join(stacks)} (default: {described})." if IN_REPOSITORY else f"Stack (default: {described})."
    command.add_argument("--env", default=default, metavar="STACK", help=text)


def _add_set(command: argparse.ArgumentParser) -> None:
    text = "Setting to change, such as image.digest=sha256:... Can be repeated."
    command.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help=text)


def _add_program(command: argparse._ActionsContainer) -> None:
    text = f"Folder of a Pulumi program in Python (default: {'this repository' if IN_REPOSITORY else 'the current folder'})."
    command.add_argument("--program", type=Path, default=REPOSITORY if IN_REPOSITORY else Path.cwd(), metavar="DIR", help=text)


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=Path, metavar="FILE", help="Write to a file instead of standard output.")


def _clear_aws_environment() -> None:
    """Remove the AWS profile and credentials from the environment, so that no call reaches a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= WITHOUT_AWS_PROFILE


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
        print("Gatehouse is not running, so no resources exist. An emulator keeps its resources only while it runs.")
        return 0
    return send(options.home, running, "destroy")


def _down(options: argparse.Namespace) -> int:
    from sandbox.local.run_state import down

    print(down(options.home))
    return 0


def _check(options: argparse.Namespace) -> int:
    from sandbox.checks import policy_check

    variables = policy_check.exemptions(options.exemptions, options.ignore_exemptions)
    folders = (*policy_check.PACKS, *options.pack)
    configuration = policy_check.read_configuration(options.config)
    if options.state is not None:
        levels = options.levels or options.env
        result = policy_check.check_state(
            options.state, levels=levels, folders=folders, variables=variables, configuration=configuration
        )
    else:
        passes = policy_check.PASSES if options.passes == "both" else (options.passes,)
        stack = options.env or "dev"
        result = policy_check.check(
            options.program.resolve(),
            stack,
            levels=options.levels,
            passes=passes,
            folders=folders,
            variables=variables,
            configuration=configuration,
        )
    subject = Path.cwd() if options.state is not None else options.program
    policy_check.write(result, policy_check.reports_folder(subject.resolve()) if options.home == HOME else options.home)
    if options.format == "table" and options.output is None:
        policy_check.show(result)
    else:
        _write(options.output, result.text(options.format))
    return result.exit_code


def _export(options: argparse.Namespace) -> int:
    from sandbox.engine.stack_export import export

    _write(options.output, export(options.program.resolve(), options.env))
    return 0


def _graph(options: argparse.Namespace) -> int:
    from sandbox.checks.graph import graph, mermaid
    from sandbox.engine.program import run
    from sandbox.engine.providers import FakeProvider

    _write(options.output, mermaid(graph(run(REPOSITORY, options.env, FakeProvider(), preview=False))))
    return 0


def _diff(options: argparse.Namespace) -> int:
    from sandbox.checks.diff import diff, loses_data, text

    steps = diff(REPOSITORY, options.env, options.changes)
    sys.stdout.write(text(steps))
    return 1 if any(loses_data(step) for step in steps) else 0


def _prowler(options: argparse.Namespace) -> int:
    from sandbox.checks.prowler import scan

    return scan(options.env, options.home)


def _write(file: Path | None, text: str) -> None:
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise SandboxError(f"{file} cannot be written: {problem.strerror}.") from problem


if __name__ == "__main__":
    code = main()
    # Skip the last garbage collection: 0.1 s instead of 2.5 s after `check --env prod`.
    gc.freeze()
    sys.exit(code)
