"""Starts child processes that end with this process and log to a file."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pulumi_local.errors import CommandError

_LAUNCHER = Path(__file__).with_name("child_launcher.py")
STOP_S = 15.0
_TAIL_LINES = 6


@dataclass(frozen=True)
class UnixUser:
    """The user that runs a child process; -1 is the current user."""

    uid: int = -1
    gid: int = -1


CURRENT_USER = UnixUser()


@dataclass(frozen=True)
class Child:
    """A started process. log: the file with the process's output; None if the caller reads the
    output.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_S) -> int:
        """Send the signal, wait, kill the process group, and return the exit code. Idempotent."""
        if self.process.poll() is None:
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                send_signal(self.pid, signal.SIGKILL, group=True)
        # Workers of a killed process are still in its group.
        send_signal(self.pid, signal.SIGKILL, group=True)
        return self.process.wait()

    def tail(self) -> str:
        if self.log is None or not self.log.exists():
            return "  (no output)"
        text = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return "\n".join(f"  {line[:400]}" for line in text[-_TAIL_LINES:]) or "  (no output)"


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: UnixUser = CURRENT_USER,
    death_signal: signal.Signals = signal.SIGTERM,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> Child:
    """Start a command in a new session. The child receives `death_signal` when this process ends,
    even by SIGKILL.

    Call this from a thread that lives as long as the child: Linux sends the signal when the thread
    ends.
    """
    if shutil.which(command[0], path=(env or os.environ).get("PATH")) is None:
        raise CommandError(f"The command {command[0]} for {name} does not exist. Run: make init")
    numbers = (os.getpid(), int(death_signal), user.uid, user.gid)
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, numbers), *command]
    with ExitStack() as files:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            stdout, stderr = files.enter_context(log.open("ab")), subprocess.STDOUT
        process = subprocess.Popen(
            launcher,
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    return Child(name, process, log)


def send_signal(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Send a signal to a process or its process group. Does nothing if the process has exited."""
    # PermissionError: on macOS, all processes of the group are zombies.
    with suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, number)
