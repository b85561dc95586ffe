"""`up` and `down`: one run at a time, clean after a crash, nothing left behind, and errors that are one message."""

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.local.down import down
from sandbox.local.run_state import Journal, State, Trace
from sandbox.paths import REPOSITORY, write_private

_END_S = 120.0


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends on SIGTERM and otherwise waits."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True) as child:
        yield child
        child.kill()


def sandbox(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_END_S, check=False)


def note(home: Path, owner: Trace, *children: Trace, folders: tuple[str, ...] = ()) -> None:
    """The journal that a run with this owner and these children would have left."""
    write_private(home / "run.json", json.dumps(asdict(State(owner, "dev", children, folders))))


def dead() -> Trace:
    return Trace("up", os.getpid(), "0")


def test_a_second_up_is_refused_and_names_the_first(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    note(tmp_path, Trace.of("up", sleeper.pid))
    with pytest.raises(SandboxError) as refused:
        Journal(tmp_path).claim("dev")
    assert refused.value.message == (f"Gatehouse is already up for stack dev (process {sleeper.pid}). To stop it: make down")


def test_a_crashed_run_is_swept_before_the_next_one(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    note(tmp_path, dead(), Trace.of("gateway", sleeper.pid), folders=(str(folder),))
    assert Journal(tmp_path).claim("dev") == [f"gateway ({sleeper.pid})"]
    assert (sleeper.wait(), folder.exists()) == (-signal.SIGTERM, False)


def test_a_process_that_only_has_the_pid_of_a_former_child_is_left_alone(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    note(tmp_path, dead(), Trace("gateway", sleeper.pid, "1"))
    assert Journal(tmp_path).claim("dev") == []
    assert sleeper.poll() is None


def test_an_unreadable_journal_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"owner": ')
    assert Journal(tmp_path).claim("dev") == []


def test_the_journal_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    Journal(tmp_path).claim("dev")
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600


def test_down_without_a_run_says_so_each_time(tmp_path: Path) -> None:
    assert [down(tmp_path), down(tmp_path)] == ["Nothing is running.", "Nothing is running."]


def test_down_ends_the_run_and_removes_its_credentials(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    note(tmp_path, Trace.of("up", sleeper.pid))
    write_private(tmp_path / "up.json", "{}")
    assert down(tmp_path) == "Gatehouse (dev) is down."
    assert (sleeper.wait(), list(tmp_path.iterdir())) == (-signal.SIGTERM, [])


def test_down_after_a_crash_removes_what_was_left(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    note(tmp_path, dead(), Trace.of("gateway", sleeper.pid))
    assert down(tmp_path) == f"Gatehouse had crashed; removed what it left behind: gateway ({sleeper.pid})."
    assert sleeper.wait() == -signal.SIGTERM


def test_an_unknown_stack_is_one_line_and_leaves_no_journal(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "up", "--env", "nope")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: There is no stack 'nope'")
    assert not (tmp_path / "run.json").exists()


def test_detach_shows_why_up_failed_and_fails_too(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "up", "--env", "nope", "--detach")
    assert done.returncode == 2
    assert "error: There is no stack 'nope'" in done.stdout


def test_up_serves_every_door_until_down_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "up", "--env", "dev", "--detach")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        state = json.loads((tmp_path / "up.json").read_text())
        assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600
        for door in ("gateway", "console", "sharing"):
            with urllib.request.urlopen(f"{state[door]}/readyz", timeout=10) as answer:  # noqa: S310
                assert answer.status == 200
        running = Journal(tmp_path).read()
        assert running is not None
    finally:
        stopped = sandbox(tmp_path, "down")
    assert stopped.stdout == "Gatehouse (dev) is down.\n"
    assert [child.name for child in (running.owner, *running.children) if child.alive()] == []
    assert not (tmp_path / "up.json").exists()
    assert json.loads((tmp_path / "permissions.json").read_text())["refused"] == []
