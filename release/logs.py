"""Follows the logs of a deployed stack or of the local environment."""

import subprocess
from collections.abc import Generator
from pathlib import Path

from release.stack_file import ROOT, Stack


def cloudwatch_command(stack: Stack, process: str) -> list[str]:
    group = stack.names.log_group(process)
    return ["aws", "logs", "tail", group, "--follow", "--region", stack.region]


def files_command(folder: Path = ROOT / ".gatehouse" / "logs") -> list[str]:
    """Raises ValueError if the folder has no log files."""
    if files := sorted(folder.glob("*.log")):
        return ["tail", "-F", *map(str, files)]
    raise ValueError("the sandbox is not running (make up). For a stack: make logs ENV=dev")


def follow(command: list[str]) -> Generator[str, None, None]:
    """The lines of a command, which ends when the user interrupts this one."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            yield from process.stdout or ()
        finally:
            process.terminate()
