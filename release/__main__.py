"""`python -m release preview|deploy|destroy|logs --env <stack>`: exit 0 done, 1 failed, 2 something is missing."""

from __future__ import annotations

import argparse
import subprocess
import sys

from botocore.exceptions import BotoCoreError, ClientError

from release.logs import follow_cloudwatch, follow_files
from release.preflight import PACKS, ROOT, Stack, missing, read_stack


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("command", choices=["preview", "deploy", "destroy", "logs"])
    parser.add_argument("--env", default="", help="the stack: dev, staging or prod")
    parser.add_argument("--process", default="gate", choices=["gate", "console", "migrate"], help="whose logs")
    options = parser.parse_args(arguments)
    try:
        if options.command == "logs" and not options.env:
            return _print(follow_files())
        stack = read_stack(options.env)
    except ValueError as exc:
        return _refuse(options.command, [str(exc)])
    lacking = missing(stack, image=options.command in ("preview", "deploy"))
    if options.command == "logs":
        lacking = [sentence for sentence in lacking if "Pulumi CLI" not in sentence]  # CloudWatch is all it needs
    if lacking:
        return _refuse(options.command, lacking)
    if options.command == "logs":
        try:
            return _print(follow_cloudwatch(stack, options.process))
        except (ClientError, BotoCoreError) as exc:
            return _refuse("logs", [f"CloudWatch refused ({type(exc).__name__}); is the stack {stack.name} deployed?"])
    if options.command == "destroy" and not _confirmed(stack):
        return _refuse("destroy", ["not confirmed; nothing was changed"])
    return subprocess.run(pulumi_command(options.command, stack), cwd=ROOT, check=False).returncode


def pulumi_command(command: str, stack: Stack) -> list[str]:
    """The command line of the Pulumi CLI; preview and deploy run both packs with the levels of the environment."""
    verb = {"preview": ["preview", "--diff"], "deploy": ["up"], "destroy": ["destroy"]}[command]
    packs: list[str] = []
    if command != "destroy":
        for pack in PACKS:
            packs += ["--policy-pack", pack, "--policy-pack-config", f"{pack}/levels/{stack.name}.json"]
    return ["pulumi", *verb, "--stack", stack.name, *packs]


def _confirmed(stack: Stack) -> bool:
    print(
        f"This destroys the stack {stack.name} in account {stack.account}. "
        "Protected resources stay until their protection is removed."
    )
    try:
        return input("Type the name of the stack to go on: ").strip() == stack.name
    except EOFError:
        return False


def _print(lines: object) -> int:
    try:
        for line in lines:  # type: ignore[attr-defined]
            print(line, flush=True)
    except KeyboardInterrupt:
        return 0
    return 0


def _refuse(command: str, sentences: list[str]) -> int:
    for sentence in sentences:
        print(f"{command}: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
