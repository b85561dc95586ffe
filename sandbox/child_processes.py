"""A child process of the sandbox: tied to its parent's life, logged to a file, stopped with its whole group."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sandbox.errors import SandboxError

_TETHER = Path(__file__).with_name("child_launcher.py")
_POLL_S = 0.02
_STOP_S = 10.0
_TAIL_LINES = 6


@dataclass(frozen=True, slots=True)
class Identity:
    """A Unix user that a child runs as; -1 keeps the present one."""

    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True)
class Child:
    """A started process. `log` holds what it wrote; None when the caller reads its output itself."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, ending: signal.Signals = signal.SIGTERM, timeout_s: float = _STOP_S) -> int:
        """Ask, wait, then kill the whole process group, and return the exit code. Stopping twice does no harm."""
        if self.process.poll() is None:
            self.process.send_signal(ending)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                _kill_group(self.pid)
        # Workers that a killed leader left behind are in its group: nothing of it may stay.
        _kill_group(self.pid)
        return self.process.wait()

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of its log, indented, for an error message."""
        if self.log is None or not self.log.exists():
            return "  (it wrote nothing)"
        text = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return "\n".join(f"  {line[:400]}" for line in text[-lines:]) or "  (it wrote nothing)"


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    identity: Identity = Identity(),
    death_signal: signal.Signals = signal.SIGTERM,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> Child:
    """Start a command in a session of its own, tied to this process: it ends with this one, even by SIGKILL.

    death_signal: what it gets then. Call it from a thread that lives as long as the child: Linux ties the child to the
    thread that made it.
    """
    if shutil.which(command[0], path=(env or os.environ).get("PATH")) is None:
        raise SandboxError(f"{command[0]}: no such command, needed for {name}. Run: make init")
    tethered = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), str(int(death_signal))]
    tethered += [str(identity.uid), str(identity.gid), *command]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            process = _spawn(tethered, env, cwd, sink, subprocess.STDOUT)
    else:
        process = _spawn(tethered, env, cwd, stdout, stderr)
    return Child(name, process, log)


def run(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    identity: Identity = Identity(),
    timeout_s: float = 60.0,
) -> None:
    """Run a command to its end.

    Raises SandboxError with its last log lines when it fails or takes longer than `timeout_s`.
    """
    child = start(name, command, log=log, env=env, cwd=cwd, identity=identity, death_signal=signal.SIGKILL)
    try:
        code = child.process.wait(timeout_s)
    except subprocess.TimeoutExpired as late:
        raise SandboxError(f"{name} did not end within {timeout_s:.0f} s. Its last lines:\n{child.tail()}") from late
    finally:
        child.stop(signal.SIGKILL)
    if code != 0:
        raise SandboxError(f"{name} failed with exit code {code}. Its last lines:\n{child.tail()}\n  Log: {log}")


def wait_until(child: Child, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Poll until `ready()`; SandboxError with the child's last log lines when it ends first or time is up."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if child.process.poll() is not None:
            code = child.process.returncode
            raise SandboxError(f"{child.name} ended with code {code} before {what}. Its last lines:\n{child.tail()}")
        if time.monotonic() > deadline:
            raise SandboxError(f"{child.name}: not {what} within {timeout_s:.0f} s. Its last lines:\n{child.tail()}")
        time.sleep(_POLL_S)


def _spawn(
    command: list[str],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdout: int | IO[Any] | None,
    stderr: int | IO[Any] | None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        # A group whose members are all zombies of another user (macOS): nothing is left to kill.
        pass
