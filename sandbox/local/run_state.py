"""`down`, and the state file of a running `up`. The file lists the processes that `down` stops,
also after a crash of `up`.
"""

import json
import os
import shutil
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pulumi_local.private_files import private_folder, write_private

from sandbox.child_processes import ProcessRecord
from sandbox.errors import SandboxError
from sandbox.local import servers
from sandbox.paths import is_own_file

_DOWN_S = 40.0


@dataclass(frozen=True)
class RunState:
    """The content of the state file: the `up` process and its child processes, without the servers
    of `servers.py`.
    """

    owner: ProcessRecord
    stack: str
    children: tuple[ProcessRecord, ...] = ()


class RunStateFile:
    """The state file in a `.gatehouse` folder. Written only by the process that claimed it."""

    def __init__(self, home: Path) -> None:
        self._file = home / "run.json"
        self.home = home
        self.tokens = home / "tokens"
        """The folder of the tokens that the provider of the samples writes."""
        self._state: RunState | None = None

    def read(self) -> RunState | None:
        """The state of the last run; None if the file does not exist, is invalid or can be written
        by another user.
        """
        try:
            if not is_own_file(self._file):
                return None
            raw = json.loads(self._file.read_text())
            owner = ProcessRecord(**raw["owner"])
            children = tuple(ProcessRecord(**child) for child in raw["children"])
            return RunState(owner, str(raw["stack"]), children)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def running(self) -> RunState | None:
        state = self.read()
        return state if state is not None and state.owner.alive() else None

    def reject_running(self) -> None:
        state = self.running()
        if state is not None and state.owner.pid != os.getpid():
            raise SandboxError(
                f"Gatehouse is already running (stack {state.stack}, process "
                f"{state.owner.pid}). Stop it: make down"
            )

    def claim(self, stack: str) -> list[str]:
        """Register this process as the running `up`. Returns the processes of a crashed run that
        were stopped.

        Raises SandboxError if another `up` is running.
        """
        private_folder(self.home)
        self.reject_running()
        stopped = self.clean_up()
        self._write(RunState(ProcessRecord.of("up", os.getpid()), stack))
        return stopped

    def clean_up(self) -> list[str]:
        """Stop the processes and servers of a crashed run. Returns the processes that were
        stopped.
        """
        state = self.read()
        stopped = []
        for child in state.children if state is not None else ():
            if child.alive():
                stopped.append(f"{child.name} ({child.pid})")
                child.stop(signal.SIGTERM)
        servers.clean_up()
        self.clear()
        return stopped

    def add(self, name: str, pid: int) -> None:
        """Record a child process, right after its start. Raises SandboxError before `claim`."""
        if self._state is None:
            raise SandboxError("This process has not claimed the state file.")
        self._write(
            replace(self._state, children=(*self._state.children, ProcessRecord.of(name, pid)))
        )

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)
        for name in ("up.json", "request.json"):
            (self.home / name).unlink(missing_ok=True)
        shutil.rmtree(self.tokens, ignore_errors=True)
        self._state = None

    def _write(self, state: RunState) -> None:
        self._state = state
        write_private(self._file, json.dumps(asdict(state), indent=2))


def down(home: Path) -> str:
    """Stop a running `up`, or clean up after a crash. Idempotent. Returns a one-line summary."""
    file = RunStateFile(home)
    running = file.running()
    if running is not None:
        running.owner.stop(signal.SIGTERM, _DOWN_S)
        # A graceful shutdown deletes the file. After SIGKILL, the file still lists the child
        # processes.
        file.clean_up()
        return f"Gatehouse (stack {running.stack}) is stopped."
    if file.read() is None:
        file.clear()
        return "Gatehouse is not running."
    stopped = file.clean_up()
    return f"Cleaned up after a crash{': stopped ' + ', '.join(stopped) if stopped else ''}."
