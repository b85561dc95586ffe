"""Follows the logs of a deployed stack or of the local environment."""

import subprocess
from collections.abc import Generator
from pathlib import Path

from release.pulumi.stack import ROOT, Stack


def follow_stack(stack: Stack, process: str) -> Generator[str, None, None]:
    group = stack.names.log_group(process)
    return _lines("aws", "logs", "tail", group, "--follow", "--region", stack.region)


def follow_files(folder: Path = ROOT / ".gatehouse" / "logs") -> Generator[str, None, None]:
    """Raises ValueError if the folder has no log files."""
    if files := sorted(folder.glob("*.log")):
        return _lines("tail", "-F", *map(str, files))
    raise ValueError("the sandbox is not running (make up). For a stack: make logs ENV=dev")


def _lines(*command: str) -> Generator[str, None, None]:
    """The lines of a command, which ends when the user interrupts this one."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            yield from process.stdout or ()
        finally:
            process.terminate()
