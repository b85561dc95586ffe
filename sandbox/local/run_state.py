"""What a running `up` leaves on disk, so that a later run can tell it from a crash: its processes and its folders.

Only pids whose start time still matches are ever signalled: a pid alone may belong to somebody else by now.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import HOME, write_private

_END_S = 15.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Trace:
    """One process for as long as it lives: its pid and when it started (the kernel's own unit, compared as text)."""

    name: str
    pid: int
    started: str

    @classmethod
    def of(cls, name: str, pid: int) -> "Trace":
        return cls(name, pid, _started(pid))

    def alive(self) -> bool:
        return bool(self.started) and _started(self.pid) == self.started

    def end(self, ending: signal.Signals, timeout_s: float = _END_S) -> None:
        """Signal it, wait, kill it with its group.

        A process that is gone, or whose pid is somebody else's now, is left alone.
        """
        if not self.alive():
            return
        _signal(self.pid, ending)
        if not _gone(self, timeout_s):
            _signal_group(self.pid, signal.SIGKILL)
            _signal(self.pid, signal.SIGKILL)
            _gone(self, timeout_s)


@dataclass(frozen=True, slots=True)
class State:
    """The journal's content: the run itself, its children, and the folders outside of `.gatehouse` that it made."""

    owner: Trace
    stack: str
    children: tuple[Trace, ...] = ()
    folders: tuple[str, ...] = field(default=())


class Journal:
    """The journal file of one `.gatehouse` folder. One writer: the process that claimed it."""

    def __init__(self, home: Path = HOME) -> None:
        self._file = home / "run.json"
        self.home = home
        self._state: State | None = None

    def read(self) -> State | None:
        """The last run's state, None when there is none or it cannot be read (a crash while writing)."""
        try:
            raw = json.loads(self._file.read_text())
            owner = Trace(**raw["owner"])
            children = tuple(Trace(**child) for child in raw["children"])
            return State(owner, str(raw["stack"]), children, tuple(raw["folders"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def running(self) -> State | None:
        state = self.read()
        return state if state is not None and state.owner.alive() else None

    def claim(self, stack: str) -> list[str]:
        """Become the one running `up`; return what was swept from a crashed one.

        Raises SandboxError when another is running.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = self.read()
        if state is not None and state.owner.alive() and state.owner.pid != os.getpid():
            raise SandboxError(
                f"Gatehouse is already up for stack {state.stack} (process {state.owner.pid}). To stop it: make down"
            )
        swept = self.sweep()
        self._state = State(Trace.of("up", os.getpid()), stack)
        self._write()
        return swept

    def sweep(self) -> list[str]:
        """End what a crashed run left behind, remove its folders and files.

        Return a name for each process that was still there.
        """
        state = self.read()
        swept = []
        for child in state.children if state is not None else ():
            if child.alive():
                swept.append(f"{child.name} ({child.pid})")
                child.end(signal.SIGTERM)
        for folder in state.folders if state is not None else ():
            shutil.rmtree(folder, ignore_errors=True)
        self.clear()
        return swept

    def add(self, name: str, pid: int) -> None:
        """Note a child at once after its start, before anything can fail."""
        self._change(children=(*self._claimed().children, Trace.of(name, pid)))

    def add_folder(self, folder: Path) -> None:
        self._change(folders=(*self._claimed().folders, str(folder)))

    def clear(self) -> None:
        """Forget the run: no journal, no credentials on disk."""
        self._file.unlink(missing_ok=True)
        (self.home / "up.json").unlink(missing_ok=True)
        self._state = None

    def _claimed(self) -> State:
        if self._state is None:
            raise SandboxError("The journal was not claimed by this process.")
        return self._state

    def _change(self, *, children: tuple[Trace, ...] | None = None, folders: tuple[str, ...] | None = None) -> None:
        state = self._claimed()
        self._state = State(
            state.owner,
            state.stack,
            state.children if children is None else children,
            state.folders if folders is None else folders,
        )
        self._write()

    def _write(self) -> None:
        write_private(self._file, json.dumps(asdict(self._claimed()), indent=2))


def _started(pid: int) -> str:
    """When a process started, "" if there is none or it is a zombie."""
    if sys.platform == "linux":
        try:
            # proc(5): the command may hold spaces and brackets, so fields count from the last ")"; state is 3,
            # starttime 22.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in {"Z", "X"} else fields[19]
    found = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return "" if not found or found.startswith("Z") else found.partition(" ")[2].strip()


def _gone(trace: Trace, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while trace.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
