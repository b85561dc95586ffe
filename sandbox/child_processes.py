"""Runs and waits for child processes, and identifies running processes by ID and start time."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pulumi_local.child_process import CURRENT_USER, STOP_S, Child, UnixUser, send_signal, start
from pulumi_local.command import WITHOUT_AWS_PROFILE

from sandbox.errors import SandboxError

__all__ = ["Child", "UnixUser", "send_signal", "start"]

_POLL_S = 0.02
#: The largest limit that macOS accepts (OPEN_MAX in sys/syslimits.h).
_FILES = 10_240
_INHERITED_VARIABLES = (
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "HOME",
    "LD_LIBRARY_PATH",
    "PYTHONDONTWRITEBYTECODE",
)


def raise_file_limit() -> None:
    """Raise the number of files that this process and its children can open. The default of macOS
    is 256.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def plain_environment() -> dict[str, str]:
    """PATH, the locale, and the variables that this interpreter needs to start."""
    inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1"}


def aws_environment(endpoint: str, region: str) -> dict[str, str]:
    """The environment of a process that calls the emulated AWS, without the user's credentials and
    settings.
    """
    return {
        **plain_environment(),
        **WITHOUT_AWS_PROFILE,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
    }


def run(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: UnixUser = CURRENT_USER,
    timeout_s: float = 60.0,
) -> None:
    """Run a command and wait. Raises SandboxError with the last log lines if the command fails or
    exceeds `timeout_s`.
    """
    child = start(name, command, log=log, env=env, cwd=cwd, user=user, death_signal=signal.SIGKILL)
    try:
        code = child.process.wait(timeout_s)
    except subprocess.TimeoutExpired as timeout:
        raise failure(child, f"did not finish within {timeout_s:.0f} s") from timeout
    finally:
        child.stop(signal.SIGKILL)
    if code != 0:
        raise SandboxError(f"{failure(child, f'failed with exit code {code}')}\n  Log: {log}")


def failure(child: Child, event: str) -> SandboxError:
    """The error about a child process, with the last lines of its log."""
    return SandboxError(f"{child.name} {event}. Last lines of the log:\n{child.tail()}")


def wait_until(child: Child, ready: Callable[[], bool], state: str, timeout_s: float) -> None:
    """Poll until `ready()`. Raises SandboxError with the last log lines if the child exits or
    `timeout_s` expires.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if child.process.poll() is not None:
            code = child.process.returncode
            raise failure(child, f"exited with code {code} before it was {state}")
        if time.monotonic() > deadline:
            raise failure(child, f"was not {state} within {timeout_s:.0f} s")
        time.sleep(_POLL_S)


@dataclass(frozen=True)
class ProcessRecord:
    """The ID and the start time of a process. The start time is in kernel units and is compared as
    text.

    A signal is sent only if the start time matches, because process IDs are reused.
    """

    name: str
    pid: int
    started: str

    @classmethod
    def of(cls, name: str, pid: int) -> "ProcessRecord":
        return cls(name, pid, _started(pid))

    def alive(self) -> bool:
        return bool(self.started) and _started(self.pid) == self.started

    def stop(self, stop_signal: signal.Signals, timeout_s: float = STOP_S) -> None:
        """Send the signal, wait, then kill the process group. Does nothing if the process has
        exited.
        """
        if not self.alive():
            return
        send_signal(self.pid, stop_signal)
        if not self._exits(timeout_s):
            send_signal(self.pid, signal.SIGKILL, group=True)
            send_signal(self.pid, signal.SIGKILL)
            self._exits(timeout_s)

    def _exits(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


def _started(pid: int) -> str:
    """The start time of a process; "" if it does not exist or is a zombie."""
    if sys.platform == "linux":
        try:
            # proc(5): fields are counted from the last ")", because the command may contain
            # brackets; state is field 3, starttime field 22.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in {"Z", "X"} else fields[19]
    # The start time depends on the locale and the time zone.
    command, env = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], {"LC_ALL": "C", "TZ": "UTC"}
    output = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False
    ).stdout.strip()
    return "" if not output or output.startswith("Z") else output.partition(" ")[2].strip()
