"""`up --detach`: starts `up` in a session of its own, relays its progress until every door is ready, then leaves it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from sandbox.errors import SandboxError
from sandbox.local.run_state import Journal
from sandbox.paths import HOME, REPOSITORY

_POLL_S = 0.1
_READY_S = 300.0
_END_S = 40.0


def up_detached(stack: str, home: Path = HOME) -> int:
    """0 once `up.json` is there, else the exit code of the `up` that failed; its own message is already shown."""
    running = Journal(home).running()
    if running is not None:
        raise SandboxError(
            f"Gatehouse is already up for stack {running.stack} (process {running.owner.pid}). To stop it: make down"
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = home / "up.log"
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        env["FORCE_COLOR"] = "1"
    # Appending, so that the child goes on writing at the new end after `_relay` has emptied the file.
    log.unlink(missing_ok=True)
    log.touch(0o600)
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--home", str(home), "up", "--env", stack],
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with log.open("rb") as said:
            code = _relay(child, said, home / "up.json")
        # What was shown holds the first admin credential: on disk it is in up.json alone.
        os.truncate(log, 0)
        return code
    except BaseException:
        # Ctrl-C while it starts means: not this. Nothing may stay behind.
        child.send_signal(signal.SIGTERM)
        child.wait(_END_S)
        raise


def _relay(child: "subprocess.Popen[bytes]", said: IO[bytes], state: Path) -> int:
    deadline = time.monotonic() + _READY_S
    while True:
        ended = child.poll()
        ready = ended is None and _is_of(state, child.pid)
        _copy(said)
        if ended is not None:
            return ended or 1
        if ready:
            return 0
        if time.monotonic() > deadline:
            raise SandboxError(f"Gatehouse was not ready within {_READY_S:.0f} s. Its log: {said.name}")
        time.sleep(_POLL_S)


def _copy(said: IO[bytes]) -> None:
    sys.stdout.write(said.read().decode(errors="replace"))
    sys.stdout.flush()


def _is_of(state: Path, pid: int) -> bool:
    try:
        return bool(json.loads(state.read_text())["pid"] == pid)
    except (OSError, ValueError, KeyError):
        return False
