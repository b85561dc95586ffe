"""`up --detach`: starts `up` in the background and prints its output until every service is
ready.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pulumi_local.private_files import private_folder

from sandbox.errors import SandboxError
from sandbox.local.run_state import RunStateFile
from sandbox.local.up_requests import relay
from sandbox.paths import REPOSITORY

_READY_S = 300.0
_STOP_S = 40.0


def up_detached(stack: str, changes: Sequence[str], home: Path) -> int:
    """Return 0 when Gatehouse is ready. Otherwise, return the exit code of `up`, which has printed
    the error.
    """
    RunStateFile(home).reject_running()
    private_folder(home)
    log = home / "up.log"
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        env["FORCE_COLOR"] = "1"
    # Append mode, so that the child writes at the new end after the file is truncated.
    log.unlink(missing_ok=True)
    log.touch(0o600)
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "sandbox", "--home", str(home), "up", "--env", stack),
                *(word for change in changes for word in ("--set", change)),
            ],
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _READY_S

    def code() -> int | None:
        exit_code = child.poll()
        if exit_code is not None:
            return exit_code or 1
        if time.monotonic() > deadline:
            raise SandboxError(f"Gatehouse was not ready within {_READY_S:.0f} s. Log: {log}")
        return 0 if _belongs_to(home / "up.json", child.pid) else None

    try:
        exit_code = relay(log, code)
        if exit_code and log.stat().st_size == 0:
            raise SandboxError(
                f"`up` exited with code {exit_code} and wrote no output. Is the disk full? Run: "
                f"df -h {log}"
            )
        # The output contains the admin token, which must be stored in up.json only.
        os.truncate(log, 0)
        return exit_code
    except BaseException:
        # Ctrl-C during the start: stop the child process.
        child.send_signal(signal.SIGTERM)
        child.wait(_STOP_S)
        raise


def _belongs_to(state: Path, pid: int) -> bool:
    try:
        return bool(json.loads(state.read_text())["pid"] == pid)
    except (OSError, ValueError, KeyError):
        return False
