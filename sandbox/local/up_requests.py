"""Requests to a running `up`: update its stack, or destroy it. The resources exist only in that
process, with its emulator.

A request is a file in the private folder of the run. `up` writes its output to a second file, and
the result to a third one.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pulumi_local.private_files import write_private

from sandbox.errors import SandboxError
from sandbox.local.run_state import RunState
from sandbox.paths import is_own_file

_FILE = "request.json"
_POLL_S = 0.1


@dataclass(frozen=True)
class Request:
    """changes: settings such as "image.digest=sha256:..."."""

    id: str
    action: Literal["update", "destroy"]
    changes: tuple[str, ...] = ()

    def output(self, home: Path) -> Path:
        return home / f"request-{self.id}.log"

    def result(self, home: Path) -> Path:
        """The file with the exit code, which exists when the request is complete."""
        return home / f"request-{self.id}.json"


def take(home: Path) -> Request | None:
    """The request that waits, which is removed; None if there is none."""
    request = _waiting(home)
    if request is not None:
        (home / _FILE).unlink(missing_ok=True)
    return request


def _waiting(home: Path) -> Request | None:
    file = home / _FILE
    try:
        if not is_own_file(file):
            return None
        raw = json.loads(file.read_text())
        return Request(str(raw["id"]), raw["action"], tuple(raw["changes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def complete(home: Path, request: Request, exit_code: int) -> None:
    """Tell the process that sent the request its exit code."""
    write_private(request.result(home), json.dumps({"exit_code": exit_code}))


def send(
    home: Path, running: RunState, action: Literal["update", "destroy"], changes: Sequence[str] = ()
) -> int:
    """Send a request, print its output, and return its exit code. Raises SandboxError if `up`
    exits, or has another request.
    """
    request = Request(secrets.token_hex(8), action, tuple(changes))
    output, result = request.output(home), request.result(home)
    if (home / _FILE).exists():
        raise SandboxError(
            "Another update waits for the running environment. Repeat the command when it is "
            "complete."
        )
    os.close(os.open(output, os.O_CREAT | os.O_WRONLY, 0o600))
    write_private(home / _FILE, json.dumps(asdict(request)))

    def code() -> int | None:
        exited = not running.owner.alive()  # checked before the result, which precedes the exit
        if result.exists():
            return int(json.loads(result.read_text())["exit_code"])
        if exited:
            raise SandboxError(f"The running environment exited. Log: {home / 'up.log'}")
        return None

    try:
        return relay(output, code)
    finally:
        if _waiting(home) == request:  # another request can follow one that has been taken
            (home / _FILE).unlink(missing_ok=True)
        for file in (output, result):
            file.unlink(missing_ok=True)


def relay(output: Path, code: Callable[[], int | None]) -> int:
    """Print a file that another process writes, until `code` returns the exit code."""
    with output.open("rb") as lines:
        while True:
            # Checked before the output is read, so that no output is lost.
            exit_code = code()
            sys.stdout.write(lines.read().decode(errors="replace"))
            sys.stdout.flush()
            if exit_code is not None:
                return exit_code
            time.sleep(_POLL_S)
