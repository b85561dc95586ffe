"""`down`, and the state file of a running `up`: its processes and folders, to stop it or to clean up after a crash.

A process is only signalled if its start time matches, because process ids are reused.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sandbox.child_processes import send_signal
from sandbox.errors import SandboxError
from sandbox.paths import HOME, write_private

_STOP_S = 15.0
_DOWN_S = 40.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process with its id and start time (in the unit of the kernel, compared as text)."""

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


@dataclass(frozen=True, slots=True)
class RunState:
    """The content of the state file: the `up` process, its child processes and its temporary folders."""

    owner: ProcessRecord
    stack: str
    children: tuple[ProcessRecord, ...] = ()
    folders: tuple[str, ...] = ()


class RunStateFile:
    """The state file in a `.gatehouse` folder. Written only by the process that claimed it."""

    def __init__(self, home: Path = HOME) -> None:
        self._file = home / "run.json"
        self.home = home
        self._state: RunState | None = None

    def read(self) -> RunState | None:
        """The state of the last run; None if the file does not exist or is invalid."""
        try:
            raw = json.loads(self._file.read_text())
            owner = ProcessRecord(**raw["owner"])
            children = tuple(ProcessRecord(**child) for child in raw["children"])
            return RunState(owner, str(raw["stack"]), children, tuple(raw["folders"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def running(self) -> RunState | None:
        state = self.read()
        return state if state is not None and state.owner.alive() else None

    def reject_running(self) -> None:
        """Raise SandboxError if another `up` is running."""
        state = self.running()
        if state is not None and state.owner.pid != os.getpid():
            raise SandboxError(
                f"Gatehouse is already running (stack {state.stack}, process {state.owner.pid}). Stop it: make down"
            )

    def claim(self, stack: str) -> list[str]:
        """Register this process as the running `up`. Returns the processes of a crashed run that were stopped.

        Raises SandboxError if another `up` is running.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.reject_running()
        stopped = self.clean_up()
        self._write(RunState(ProcessRecord.of("up", os.getpid()), stack))
        return stopped

    def clean_up(self) -> list[str]:
        """Stop the processes of a crashed run and delete its folders. Returns the processes that were stopped."""
        state = self.read()
        stopped = []
        for child in state.children if state is not None else ():
            if child.alive():
                stopped.append(f"{child.name} ({child.pid})")
                child.stop(signal.SIGTERM)
        for folder in state.folders if state is not None else ():
            shutil.rmtree(folder, ignore_errors=True)
        self.clear()
        return stopped

    def add(self, name: str, pid: int) -> None:
        """Record a child process, right after its start."""
        state = self._claimed()
        self._write(replace(state, children=(*state.children, ProcessRecord.of(name, pid))))

    def add_folder(self, folder: Path) -> None:
        state = self._claimed()
        self._write(replace(state, folders=(*state.folders, str(folder))))

    def clear(self) -> None:
        """Delete the state file and the credentials in up.json."""
        self._file.unlink(missing_ok=True)
        (self.home / "up.json").unlink(missing_ok=True)
        self._state = None

    def _claimed(self) -> RunState:
        if self._state is None:
            raise SandboxError("This process has not claimed the state file.")
        return self._state

    def _write(self, state: RunState) -> None:
        self._state = state
        write_private(self._file, json.dumps(asdict(state), indent=2))


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
    output = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return "" if not output or output.startswith("Z") else output.partition(" ")[2].strip()


def down(home: Path = HOME) -> str:
    """Stop a running `up`, or clean up after a crash. Idempotent. Returns a one-line summary."""
    file = RunStateFile(home)
    running = file.running()
    if running is not None:
        running.owner.stop(signal.SIGTERM, _DOWN_S)
        # A graceful shutdown deletes the file. After SIGKILL it still lists the child processes.
        file.clean_up()
        return f"Gatehouse (stack {running.stack}) is stopped."
    if file.read() is None:
        file.clear()
        return "Gatehouse is not running."
    stopped = file.clean_up()
    return f"Cleaned up after a crash{': stopped ' + ', '.join(stopped) if stopped else ''}."
