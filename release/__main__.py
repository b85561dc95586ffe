"""Release commands for a stack. Exit codes: 0 success, 1 failure, 2 missing prerequisite."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from components import contract
from components.settings.loader import SettingsError, parse, parse_account
from release import pulumi_cli
from release.bootstrap import (
    account_instructions,
    bootstrap,
    pipeline_instructions,
    unprotected_environments,
)
from release.deploy import check_unchanged, deploy, print_changes, verify
from release.errors import AWS_ERRORS, CommandFailed, DeploymentFailed, ServicesFailed, translated
from release.image import is_deployed, push_image
from release.logs import follow_cloudwatch, follow_files
from release.preflight import missing_credentials, missing_prerequisites, unfinished_updates
from release.pulumi_cli import command_line, stack_output
from release.regions import unknown_regions
from release.rollback import previous_digest, write_digest
from release.signature import unverified_signature
from release.stack_file import ACCOUNT, GATEHOUSE, PROJECTS, ROOT, Project, Stack, read_stack

ACCOUNT_COMMANDS = ("bootstrap", "preview", "drift", "deploy", "destroy")
"""Commands of the project `account`."""
COMMANDS = (*ACCOUNT_COMMANDS, "image", "verify", "rollback", "logs")
CHANGING_COMMANDS = ("bootstrap", "image", "preview", "deploy", "rollback")
"""Commands that run the program with the settings, or prepare it."""
FAILED, REJECTED, INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--env", default="", help="name of the stack")
    parser.add_argument(
        "--project", default=GATEHOUSE.name, help="Pulumi project: gatehouse (default) or account"
    )
    parser.add_argument(
        "--process",
        default="gateway",
        choices=list(contract.read().processes),
        help="logs: process whose logs to follow",
    )
    parser.add_argument(
        "--yes", action="store_true", help="deploy, rollback: skip the confirmation prompt"
    )
    parser.add_argument(
        "--diff", action="store_true", help="preview: print the changed properties of each resource"
    )
    parser.add_argument(
        "--digest", default="", help="rollback: image digest (default: the previous image)"
    )
    parser.add_argument(
        "--rollback",
        action="store_true",
        help="deploy: deploy the previous image if the services are not deployed",
    )
    parser.add_argument(
        "--unsigned",
        action="store_true",
        help="deploy, rollback: accept an image that the pipeline has not signed",
    )
    # Tests pass the directory of another repository.
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        return _command(options)
    except KeyboardInterrupt:
        message = f"interrupted. To continue, run: {_again(options.command, options)}"
        return _reject(options.command, message, INTERRUPTED)


def _again(command: str, options: argparse.Namespace) -> str:
    project = f"PROJECT={options.project} " if options.project != GATEHOUSE.name else ""
    digest = f" DIGEST={options.digest}" if options.digest else ""
    return f"make {command} {project}ENV={options.env}{digest}"


def _command(options: argparse.Namespace) -> int:
    try:
        if options.command == "logs" and not options.env:
            return _print(follow_files())
        project = _project(options)
        stack = read_stack(options.env, options.root / project.folder, project)
        _check_settings(options.command, stack)
    except (ValueError, SettingsError, *AWS_ERRORS) as exc:
        return _reject(options.command, str(exc))
    messages = missing_prerequisites(options.command, stack, unsigned=options.unsigned)
    if messages:
        return _reject(options.command, "\n".join(messages))
    try:
        return _run(options, stack)
    except ValueError as exc:
        return _reject(options.command, str(exc))
    except CommandFailed as exc:
        causes = _causes(options, stack) if isinstance(exc, DeploymentFailed) else []
        return _reject(options.command, "\n".join([str(exc), *causes]), FAILED)


def _project(options: argparse.Namespace) -> Project:
    """The selected project. Raises ValueError for an unknown project, or a command that the project
    does not have.
    """
    project = PROJECTS.get(options.project)
    if project is None:
        raise ValueError(
            f"no project {options.project!r}; use PROJECT=account, or no PROJECT for the "
            f"stacks of Gatehouse"
        )
    if project == ACCOUNT and options.command not in ACCOUNT_COMMANDS:
        raise ValueError(
            f"{project.argument} has no services; use one of: {', '.join(ACCOUNT_COMMANDS)}"
        )
    return project


def _check_settings(command: str, stack: Stack) -> None:
    """Raises SettingsError or ValueError for an invalid setting. The other commands must work with
    the settings of a stack that was deployed with another version."""
    if stack.project == ACCOUNT:
        parse_account(stack.settings, stack.name)
    elif command in CHANGING_COMMANDS:
        parse(stack.settings, stack.name)
    if messages := unknown_regions(stack):
        raise ValueError("\n".join(messages))


def _bootstrap(stack: Stack) -> int:
    state = bootstrap(stack, lambda line: print(f"> {line}", flush=True))
    if stack.project == ACCOUNT:
        return _print(["", *account_instructions(stack)])
    _print(["", *pipeline_instructions(stack, state)])
    if problems := unprotected_environments(stack):
        raise CommandFailed("\n".join(problems))
    return 0


def _image(stack: Stack) -> int:
    digest = push_image(stack)
    print(
        f"> {stack.file}: image.digest {digest}. Commit the change, then run: make deploy "
        f"{stack.target}"
    )
    return 0


def _run(options: argparse.Namespace, stack: Stack) -> int:
    match options.command:
        case "bootstrap":
            return _bootstrap(stack)
        case "image":
            return _image(stack)
        case "logs":
            return _logs(stack, options.process)
        case "verify":
            return verify(stack)
        case "deploy":
            return _deploy(options, stack)
        case "rollback":
            return _rollback(options, stack)
    state = pulumi_cli.deployment(stack)
    code = pulumi_cli.run(command_line(options.command, stack, diff=options.diff), stack.root)
    if options.command != "destroy" or code:
        return code
    print_changes(state, {row["urn"]: ["delete"] for row in state.get("resources") or ()})
    if not _confirm(stack, "destroys"):
        return _reject("destroy", "not confirmed; nothing was changed")
    check_unchanged(stack, _again("destroy", options), state)
    return pulumi_cli.run(command_line("destroy", stack, yes=True), stack.root)


def _logs(stack: Stack, process: str) -> int:
    message = f"cannot read the logs ({{}}). Is the stack {stack.name} deployed?"
    with translated(message, ValueError):
        return _print(follow_cloudwatch(stack, process))


def _deploy(options: argparse.Namespace, stack: Stack) -> int:
    """Deploy the stack. With --rollback, deploy the previous image if the services are not
    deployed. Returns the exit code, which is not 0 after a rollback."""
    try:
        return _confirmed_deployment(options, stack)
    except ServicesFailed as exc:
        if _causes(options, stack):
            raise
        if not options.rollback:
            command = f"make rollback {stack.target}"
            raise ServicesFailed(f"{exc}\nTo deploy the previous image, run: {command}") from exc
        _reject("deploy", str(exc))
    print("> the services were not deployed; deploying the previous image", flush=True)
    _rollback(options, stack)
    return _reject(
        "deploy",
        f"the services were not deployed; the stack {stack.name} runs the previous image again",
        FAILED,
    )


def _causes(options: argparse.Namespace, stack: Stack) -> list[str]:
    """Why a command failed, and what to type, if no other command can succeed before."""
    if message := missing_credentials(stack):
        return [f"{message}. Then run: {_again(options.command, options)}"]
    return unfinished_updates(stack)


def _rollback(options: argparse.Namespace, stack: Stack) -> int:
    """Write the previous digest to the stack file and deploy the stack without a migration. Returns
    the exit code.

    Schema changes are backward compatible, so the previous image runs with the newer schema
    (docs/guides/deploy.md).
    """
    digest = options.digest or _previous_digest(stack)
    if digest == stack.image_digest:
        raise ValueError(
            f"{stack.file} already contains {digest}. To deploy it, run: make deploy {stack.target}"
        )
    file = stack.root / f"Pulumi.{stack.name}.yaml"
    write_digest(file, digest)
    try:
        print(
            f"> {file.name}: image.digest {stack.image_digest} -> {digest}. Commit the change.",
            flush=True,
        )
        target = read_stack(stack.name, stack.root)
        # Others can set the tags of images, and register task definitions.
        if not options.unsigned and (problem := unverified_signature(target)):
            raise CommandFailed(problem)
        return _confirmed_deployment(options, target, with_migration=False)
    except (CommandFailed, ValueError, KeyboardInterrupt):
        # Otherwise, the next rollback would take the image that this one replaces.
        write_digest(file, stack.image_digest)
        print(f"> {file.name}: image.digest {digest} -> {stack.image_digest}", flush=True)
        raise


def _confirmed_deployment(
    options: argparse.Namespace, stack: Stack, *, with_migration: bool = True
) -> int:
    return deploy(
        stack,
        confirm=lambda: options.yes or _confirm(stack, "changes"),
        again=_again("deploy" if with_migration else "rollback", options),
        with_migration=with_migration,
    )


def _previous_digest(stack: Stack) -> str:
    services = stack_output(stack, "services")
    definition = str(next(iter(services.values()))["taskDefinition"])
    ecs = stack.client("ecs")
    with translated("cannot read the previous image ({}). Use DIGEST=sha256:...", ValueError):
        return previous_digest(ecs, definition, stack.image_digest, partial(is_deployed, stack))


def _confirm(stack: Stack, verb: str) -> bool:
    print(f"This command {verb} the stack {stack.name} in account {stack.account}.")
    try:
        return input("Enter the name of the stack to confirm: ").strip() == stack.name
    except EOFError:
        return False


def _print(lines: Iterable[str]) -> int:
    with suppress(KeyboardInterrupt):
        for line in lines:
            print(pulumi_cli.printable(line), flush=True)
    return 0


def _reject(command: str, text: str, status: int = REJECTED) -> int:
    for line in text.splitlines():
        print(f"{command}: {pulumi_cli.printable(line)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    pulumi_cli.interrupt_on_signals()
    sys.exit(main())
