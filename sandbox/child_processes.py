"""Starts child processes that exit with the sandbox and log to a file, and identifies running processes by ID and start time."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sandbox.errors import SandboxError

_LAUNCHER = Path(__file__).with_name("child_launcher.py")
_POLL_S = 0.02
_STOP_S = 15.0
_TAIL_LINES = 6
#: The largest limit that macOS accepts (OPEN_MAX in sys/syslimits.h).
_FILES = 10_240
_INHERITED_VARIABLES = ("LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE")
WITHOUT_AWS_PROFILE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Variables that prevent the AWS SDKs from using the user's profile or the credentials of an EC2 instance."""


def raise_file_limit() -> None:
    """Raise the number of files that this process and its children can open. The default of macOS is 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@dataclass(frozen=True, slots=True)
class UnixUser:
    """The user that runs a child process; -1 is the current user."""

    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True)
class Child:
    """A started process. log: the file with the process's output; None if the caller reads the output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM, timeout_s: float = _STOP_S) -> int:
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

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the log, indented, for an error message."""
        if self.log is None or not self.log.exists():
            return "  (no output)"
        text = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return "\n".join(f"  {line[:400]}" for line in text[-lines:]) or "  (no output)"


def plain_environment() -> dict[str, str]:
    """PATH, the locale, and the variables that this interpreter needs to start."""
    inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1"}


def aws_environment(endpoint: str, region: str) -> dict[str, str]:
    """The environment of a process that calls the emulated AWS, without the user's credentials and settings."""
    return {**plain_environment(), **WITHOUT_AWS_PROFILE, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region}


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: UnixUser = UnixUser(),
    death_signal: signal.Signals = signal.SIGTERM,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> Child:
    """Start a command in a new session. The child receives `death_signal` when this process ends, even by SIGKILL.

    Call this from a thread that lives as long as the child: Linux sends the signal when the thread ends.
    """
    if shutil.which(command[0], path=(env or os.environ).get("PATH")) is None:
        raise SandboxError(f"The command {command[0]} for {name} does not exist. Run: make init")
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(death_signal))]
    launcher += [str(user.uid), str(user.gid), *command]
    with ExitStack() as files:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            stdout, stderr = files.enter_context(log.open("ab")), subprocess.STDOUT
        process = subprocess.Popen(
            launcher, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
    return Child(name, process, log)


def run(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: UnixUser = UnixUser(),
    timeout_s: float = 60.0,
) -> None:
    """Run a command and wait. Raises SandboxError with the last log lines if the command fails or exceeds `timeout_s`."""
    child = start(name, command, log=log, env=env, cwd=cwd, user=user, death_signal=signal.SIGKILL)
    try:
        code = child.process.wait(timeout_s)
    except subprocess.TimeoutExpired as timeout:
        raise SandboxError(f"{name} did not finish within {timeout_s:.0f} s. Last lines of the log:\n{child.tail()}") from timeout
    finally:
        child.stop(signal.SIGKILL)
    if code != 0:
        raise SandboxError(f"{name} failed with exit code {code}. Last lines of the log:\n{child.tail()}\n  Log: {log}")


def wait_until(child: Child, ready: Callable[[], bool], state: str, timeout_s: float) -> None:
    """Poll until `ready()`. Raises SandboxError with the last log lines if the child exits or `timeout_s` expires."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if child.process.poll() is not None:
            code = child.process.returncode
            raise SandboxError(
                f"{child.name} exited with code {code} before it was {state}. Last lines of the log:\n{child.tail()}"
            )
        if time.monotonic() > deadline:
            raise SandboxError(f"{child.name} was not {state} within {timeout_s:.0f} s. Last lines of the log:\n{child.tail()}")
        time.sleep(_POLL_S)


def send_signal(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Send a signal to a process or its process group. Does nothing if the process has exited."""
    # PermissionError: on macOS, all processes of the group are zombies.
    with suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, number)


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The ID and the start time of a process. The start time is in kernel units and is compared as text.

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

    def stop(self, stop_signal: signal.Signals, timeout_s: float = _STOP_S) -> None:
        """Send the signal, wait, then kill the process group. Does nothing if the process has exited."""
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
            # proc(5): fields are counted from the last ")", because the command may contain brackets; state is field 3,
            # starttime field 22.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in {"Z", "X"} else fields[19]
    # The start time depends on the locale and the time zone.
    command, env = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], {"LC_ALL": "C", "TZ": "UTC"}
    output = subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout.strip()
    return "" if not output or output.startswith("Z") else output.partition(" ")[2].strip()
