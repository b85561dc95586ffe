"""`python -m release <command> --env <stack>`: exit 0 done, 1 failed, 2 something is missing."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from release.deploy import FAILED, NotConfirmed, NotReleased, deploy, pulumi_command, verify
from release.logs import follow_cloudwatch, follow_files
from release.preflight import ROOT, Stack, missing, read_stack, stack_output
from release.rollback import previous_digest, write_digest

COMMANDS = ("preview", "deploy", "verify", "rollback", "destroy", "logs")
REFUSED = 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--env", default="", help="the stack: dev, staging or prod")
    parser.add_argument("--process", default="gateway", choices=["gateway", "console", "migrate"], help="whose logs")
    parser.add_argument(
        "--yes", action="store_true", help="deploy, rollback: do not ask; for a pipeline with an approval of its own"
    )
    parser.add_argument("--digest", default="", help="rollback: to this image, not to the one before")
    # The folder of the program; the tests give one of their own.
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "logs" and not options.env:
            return _print(follow_files())
        stack = read_stack(options.env, options.root)
    except ValueError as exc:
        return _refuse(options.command, [str(exc)])
    lacking = missing(stack, image=options.command in ("preview", "deploy"), root=options.root)
    if options.command == "logs":
        lacking = [sentence for sentence in lacking if "Pulumi CLI" not in sentence]  # CloudWatch is all it needs
    if lacking:
        return _refuse(options.command, lacking)
    try:
        return _run(options, stack)
    except NotReleased as exc:
        for line in str(exc).splitlines():
            print(f"{options.command}: {line}", file=sys.stderr)
        return FAILED


def _run(options: argparse.Namespace, stack: Stack) -> int:
    if options.command == "logs":
        try:
            return _print(follow_cloudwatch(stack, options.process))
        except (ClientError, BotoCoreError) as exc:
            return _refuse("logs", [f"CloudWatch refused ({type(exc).__name__}); is the stack {stack.name} deployed?"])
    if options.command == "verify":
        return _or_refuse("verify", lambda: verify(stack, root=options.root))
    if options.command == "deploy":
        return deploy(stack, confirmed=lambda: options.yes or _confirmed(stack, "changes"), root=options.root)
    if options.command == "rollback":
        return _or_refuse("rollback", lambda: _rollback(options, stack))
    if options.command == "destroy" and not _confirmed(stack, "destroys"):
        return _refuse("destroy", ["not confirmed; nothing was changed"])
    return subprocess.run(pulumi_command(options.command, stack), cwd=options.root, check=False).returncode


def _rollback(options: argparse.Namespace, stack: Stack) -> int:
    """Set image.digest back and release it, without a migration: an older image knows no way back for the schema, and the
    schema of the newer one must serve it (docs/guides/deploy.md)."""
    digest = options.digest or _digest_before(stack, options.root)
    if digest == stack.image_digest:
        raise ValueError(f"Pulumi.{stack.name}.yaml already names {digest}; to release it type: make deploy ENV={stack.name}")
    write_digest(options.root / f"Pulumi.{stack.name}.yaml", digest)
    print(f"> Pulumi.{stack.name}.yaml: image.digest {stack.image_digest} -> {digest}. Commit it.", flush=True)
    back = read_stack(stack.name, options.root)
    try:
        return deploy(back, confirmed=lambda: options.yes or _confirmed(back, "changes"), with_migration=False, root=options.root)
    except NotConfirmed:
        write_digest(options.root / f"Pulumi.{stack.name}.yaml", stack.image_digest)
        raise


def _digest_before(stack: Stack, root: Path) -> str:
    services = stack_output(stack, "services", root)
    definition = str(next(iter(services.values()))["taskDefinition"])
    try:
        return previous_digest(boto3.client("ecs", region_name=stack.region), definition, stack.image_digest)
    except (ClientError, BotoCoreError) as exc:
        raise ValueError(f"ECS did not say what ran before ({type(exc).__name__}); name the image: --digest sha256:...") from exc


def _or_refuse(command: str, act: Callable[[], int]) -> int:
    try:
        return act()
    except ValueError as exc:
        return _refuse(command, [str(exc)])


def _confirmed(stack: Stack, does: str) -> bool:
    also = " Protected resources stay until their protection is removed." if does == "destroys" else ""
    print(f"This {does} the stack {stack.name} in account {stack.account}.{also}")
    try:
        return input("Type the name of the stack to go on: ").strip() == stack.name
    except EOFError:
        return False


def _print(lines: Iterable[str]) -> int:
    try:
        for line in lines:
            print(line, flush=True)
    except KeyboardInterrupt:
        return 0
    return 0


def _refuse(command: str, sentences: list[str]) -> int:
    for sentence in sentences:
        print(f"{command}: {sentence}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
