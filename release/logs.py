"""Follows the logs of a deployed stack. `make logs` follows those of the local environment."""

import subprocess
from collections.abc import Generator

from release.pulumi.stack import Stack


def follow_stack(stack: Stack, process: str) -> Generator[str, None, None]:
    group = stack.names.log_group(process)
    return _lines("aws", "logs", "tail", group, "--follow", "--region", stack.region)


def _lines(*command: str) -> Generator[str, None, None]:
    """The lines of a command, which ends when the user interrupts this one."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            yield from process.stdout or ()
        finally:
            process.terminate()
