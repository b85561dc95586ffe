"""Release commands for a stack. Exit codes: 0 success, 1 failure, 2 missing prerequisite."""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from components import contract
from components.settings.loader import SettingsError, parse, parse_account
from release import logs
from release.account_rows import account_rows
from release.bootstrap import bootstrap, state_bucket
from release.deploy import check_unchanged, deploy
from release.errors import AWS_ERRORS, CommandFailed, ServicesFailed, printable, step
from release.github import set_up, unprotected_environments
from release.image import push_image
from release.preflight import missing_credentials, missing_prerequisites
from release.pulumi.cli import DIFF, packs, prepare_process, run
from release.pulumi.stack import ACCOUNT, GATEHOUSE, PROJECTS, ROOT, Stack, read_stack
from release.pulumi.state import State, read_state
from release.registry import create_registry
from release.rollback import rollback
from release.rotate import NAMES, rotate
from release.verify import verify

ACCOUNT_COMMANDS = ("bootstrap", "preview", "drift", "deploy", "destroy")
COMMANDS = (*ACCOUNT_COMMANDS, "image", "verify", "rollback", "rotate", "logs")
CHANGING_COMMANDS = ("bootstrap", "image", "preview", "deploy", "rollback")
"""They require valid settings. The others work with those of a stack of another version."""
FAILED, REJECTED, INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    add, processes = parser.add_argument, list(contract.read().processes)
    add("command", choices=COMMANDS)
    add("--env", default="", help="name of the stack")
    add("--project", default=GATEHOUSE.name, choices=PROJECTS)
    add("--process", default="gateway", choices=processes, help="logs: process to follow")
    add("--digest", default="", help="rollback: image digest (default: the previous image)")
    add("--name", default="", help=f"rotate: {', '.join(NAMES)}")
    for option, meaning in {
        "yes": "deploy, image, rollback, rotate: skip the confirmation prompt",
        "now": "rotate: make the current value void at once",
        "diff": "preview: print the changed properties",
        "rollback": "deploy: roll back if the services fail",
        "unsigned": "deploy, rollback: accept an unsigned image",
    }.items():
        add(f"--{option}", action="store_true", help=meaning)
    # Tests pass the directory of another repository.
    add("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        return _command(options)
    except KeyboardInterrupt:
        return _reject(options, f"interrupted. To continue, run: {_again(options)}", INTERRUPTED)
    except CommandFailed as exc:
        return _reject(options, str(exc), FAILED)
    except (ValueError, SettingsError) as exc:
        return _reject(options, str(exc), REJECTED)
    except FileNotFoundError as exc:
        return _reject(options, f"{exc.filename} is not on PATH (docs/guides/deploy.md)", REJECTED)
    except (*AWS_ERRORS, subprocess.TimeoutExpired) as exc:
        return _reject(options, f"{exc}. To repeat, run: {_again(options)}", FAILED)


def _command(options: argparse.Namespace) -> int:
    project = PROJECTS[options.project]
    if project == ACCOUNT and options.command not in ACCOUNT_COMMANDS:
        raise ValueError(f"PROJECT=account has only the commands {', '.join(ACCOUNT_COMMANDS)}")
    stack = read_stack(options.env, options.root / project.folder, project)
    if project == ACCOUNT:
        parse_account(stack.settings, stack.name)
    elif options.command in CHANGING_COMMANDS:
        parse(stack.settings, stack.name)
    if messages := missing_prerequisites(options.command, stack, unsigned=options.unsigned):
        raise ValueError("\n".join(messages))
    match options.command:
        case "bootstrap":
            return _bootstrap(stack)
        case "image":
            create_registry(stack, partial(_confirmed, options, stack))
            step(f"{stack.file}: image.digest {push_image(stack)}. Commit the change.")
            return 0
        case "logs":
            return _print(logs.follow_stack(stack, options.process))
        case "rotate":
            confirm = partial(_confirmed, options, stack)
            rotate(stack, options.name, confirm, now=options.now)
            return 0
        case _:
            return _with_state(options, stack, read_state(stack))


def _bootstrap(stack: Stack) -> int:
    key_arn = bootstrap(stack)
    if stack.project == ACCOUNT:
        step(f"the deployment requires an administrator. Next: make preview {stack.target}")
        return 0
    repository = stack.setting("delivery", "repository", default="<owner>/<repository>")
    step(f"for deployments from GitHub (docs/guides/deploy.md, section 6), set in {stack.file}:")
    values = {"state_bucket": state_bucket(stack), "state_key_arn": key_arn}
    _print(["delivery:", *(f"  {name}: {value}" for name, value in values.items())])
    step(f"and run: {set_up(stack, repository)}")
    if problem := unprotected_environments(stack):
        raise CommandFailed(problem)
    return 0


def _with_state(options: argparse.Namespace, stack: Stack, state: State) -> int:
    confirm = partial(_confirmed, options, stack)
    match options.command:
        case "preview":
            return run(stack, "preview", *packs(stack), *(DIFF if options.diff else ()))
        case "drift":
            return run(stack, "preview", *DIFF, "--refresh", "--expect-no-changes")
        case "rollback":
            rollback(stack, state, options.digest, confirm, unsigned=options.unsigned)
            return 0
        case "verify":
            try:
                verify(stack, state)
            finally:
                _print(account_rows(stack, state))
            return 0
    if message := state.unfinished(stack):
        raise ValueError(message)
    if options.command == "destroy":
        return _destroy(stack, state)
    try:
        deploy(stack, state, confirm)
        return 0
    except ServicesFailed as exc:
        if not options.rollback:
            command = f"make rollback {stack.target}"
            raise CommandFailed(f"{exc}\nTo deploy the previous image, run: {command}") from exc
        _reject(options, str(exc), FAILED)
    if message := missing_credentials(stack):
        raise CommandFailed(f"{message}. Then run: {_again(options)}")
    step("the services were not deployed; deploying the previous image")
    rollback(stack, read_state(stack), "", confirm, unsigned=options.unsigned)
    raise CommandFailed(f"the stack {stack.name} runs the previous image again")


def _destroy(stack: Stack, state: State) -> int:
    # The CLI previews again: `--skip-preview` would delete what protected resources need.
    if code := run(stack, "destroy", "--preview-only"):
        return code
    if not _confirm(stack, "destroys"):
        raise ValueError("not confirmed; nothing was changed")
    check_unchanged(stack, state)
    return run(stack, "destroy", "--yes")


def _again(options: argparse.Namespace) -> str:
    target = PROJECTS[options.project].target(options.env)
    words = {"DIGEST": options.digest, "NAME": options.name, "NOW": "1" if options.now else ""}
    more = "".join(f" {name}={value}" for name, value in words.items() if value)
    return f"make {options.command} {target}{more}"


def _confirmed(options: argparse.Namespace, stack: Stack) -> bool:
    return options.yes or _confirm(stack, "changes")


def _confirm(stack: Stack, verb: str) -> bool:
    print(f"This command {verb} the stack {stack.name} in account {stack.account}.")
    try:
        return input("Enter the name of the stack to confirm: ").strip() == stack.name
    except EOFError:
        return False


def _print(lines: Iterable[str]) -> int:
    with suppress(KeyboardInterrupt):
        for line in lines:
            print(printable(line.rstrip("\n")), flush=True)
    return 0


def _reject(options: argparse.Namespace, text: str, status: int) -> int:
    for line in text.splitlines():
        print(f"{options.command}: {printable(line)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    prepare_process()
    sys.exit(main())
