"""Manages the API keys of the local environment or of a deployed stack with `gatehouse keys`."""

import os
import subprocess
import sys
from pathlib import Path

from release.preflight import EXAMPLE
from release.stack_file import Stack

_URL, _TOKEN = "GATEHOUSE_CONSOLE_URL", "GATEHOUSE_ADMIN_TOKEN"


def arguments(create: str, rotate: str, revoke: str) -> list[str]:
    """The arguments of `gatehouse keys`. Raises ValueError for more than one action."""
    if sum(map(bool, (create, rotate, revoke))) > 1:
        raise ValueError("use only one of CREATE=, ROTATE= and REVOKE=")
    if create:
        return ["create", f"--name={create}"]
    return ["rotate", "--", rotate] if rotate else ["revoke", "--", revoke] if revoke else ["list"]


def variables(stack: Stack | None, root: Path) -> dict[str, str]:
    """The environment variables of the command, which select the console and its credential. Raises
    ValueError if one of them is missing.

    stack: None for the local environment, for which the command reads .gatehouse/up.json. Variables
        for the console of another environment have no effect on it.
    """
    inherited = {name: text for name, text in os.environ.items() if name not in (_URL, _TOKEN)}
    if stack is None:
        if (root / ".gatehouse" / "up.json").exists():
            return inherited
        raise ValueError("the sandbox is not running (make up). For a stack: make api-keys ENV=dev")
    domain, token = str(stack.settings.get("domain", "")), os.environ.get(_TOKEN, "")
    if not domain or EXAMPLE.search(domain):
        raise ValueError(f"{stack.file} has no domain of your own; set `domain`")
    if not token:
        raise ValueError(
            f"set {_TOKEN} to an admin credential of the stack {stack.name}. The first one is the "
            "bootstrap token (docs/guides/deploy.md, section 4)"
        )
    return {**inherited, _URL: f"https://console.{domain}", _TOKEN: token}


def run(arguments: list[str], environment: dict[str, str], root: Path) -> int:
    program = Path(sys.executable).with_name("gatehouse")
    command = [str(program), "keys", *arguments]
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode
