"""`up` and `down`: one run at a time, cleanup after a crash and at the end, one-line errors."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import cast

import pytest
from pulumi_local.errors import CommandError
from pulumi_local.private_files import write_private

from sandbox.child_processes import ProcessRecord, start
from sandbox.errors import SandboxError
from sandbox.local import up_requests
from sandbox.local.run_state import RunState, RunStateFile, down
from sandbox.local.samples import Samples
from sandbox.local.stack_processes import StackProcesses
from sandbox.local.up import Deployed
from sandbox.paths import REPOSITORY
from tests import processes, requires

_TIMEOUT_S = 120.0


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True
    ) as child:
        yield child
        child.kill()


def sandbox(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]
    return processes.run(command, cwd=REPOSITORY, timeout=_TIMEOUT_S)


def test_end_of_a_service_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    gateway = start("gateway", command, log=tmp_path / "gateway", env=dict(os.environ))
    processes = cast("StackProcesses", SimpleNamespace(children=[gateway]))
    deployed = Deployed(processes, cast("Samples", None))
    deployed.check()
    gateway.stop()
    with pytest.raises(SandboxError, match="gateway exited"):
        deployed.check()


@requires.ROOT_USER
def test_folder_of_another_user_is_rejected(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    requires.give_away(home)
    with pytest.raises(CommandError, match="belongs to another user"):
        RunStateFile(home).claim("dev")


@requires.ROOT_USER
@pytest.mark.parametrize("prepare", [requires.give_away, lambda path: path.chmod(0o666)])
def test_state_of_another_user_stops_no_process(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]", prepare: Callable[[Path], None]
) -> None:
    gone = ProcessRecord("up", 2**22 - 1, "1")
    write_state(tmp_path, gone, ProcessRecord.of("gateway", sleeper.pid))
    prepare(tmp_path / "run.json")
    down(tmp_path)
    assert sleeper.poll() is None


@pytest.mark.parametrize("existing", [None, 0o755, 0o777])
def test_state_folder_is_private(tmp_path: Path, existing: int | None) -> None:
    home = tmp_path / "home"
    if existing is not None:
        home.mkdir()
        home.chmod(existing)
    state = RunStateFile(home)
    state.claim("dev")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "run.json").stat().st_mode) == 0o600
    state.clear()


def write_state(home: Path, owner: ProcessRecord, *children: ProcessRecord) -> None:
    write_private(home / "run.json", json.dumps(asdict(RunState(owner, "dev", children))))


def exited() -> ProcessRecord:
    return ProcessRecord("up", os.getpid(), "0")


def test_second_up_is_rejected(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    write_state(tmp_path, ProcessRecord.of("up", sleeper.pid))
    with pytest.raises(CommandError) as error:
        RunStateFile(tmp_path).claim("dev")
    assert error.value.message == (
        f"Gatehouse is already running (stack dev, process {sleeper.pid}). Stop it: make down"
    )


def test_up_cleans_up_after_a_crash(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    write_state(tmp_path, exited(), ProcessRecord.of("gateway", sleeper.pid))
    assert RunStateFile(tmp_path).claim("dev") == [f"gateway ({sleeper.pid})"]
    assert sleeper.wait() == -signal.SIGTERM


def test_reused_process_id_is_not_signalled(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    write_state(tmp_path, exited(), ProcessRecord("gateway", sleeper.pid, "1"))
    assert RunStateFile(tmp_path).claim("dev") == []
    assert sleeper.poll() is None


def test_down_stops_the_run_and_deletes_credentials(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    write_state(tmp_path, ProcessRecord.of("up", sleeper.pid))
    write_private(tmp_path / "up.json", "{}")
    assert down(tmp_path) == "Gatehouse (stack dev) is stopped."
    assert (sleeper.wait(), list(tmp_path.iterdir())) == (-signal.SIGTERM, [])


def test_request_is_taken_once_and_its_exit_code_is_returned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = RunState(ProcessRecord.of("up", os.getpid()), "dev")
    taken: list[up_requests.Request | None] = []

    def serve() -> None:
        while (request := up_requests.take(tmp_path)) is None:
            pass
        taken.extend([request, up_requests.take(tmp_path)])
        request.output(tmp_path).write_text("updated\n")
        up_requests.complete(tmp_path, request, 1)

    server = Thread(target=serve)
    server.start()
    assert up_requests.send(tmp_path, running, "update", ["a.b=c"]) == 1
    server.join()
    assert taken[0] is not None
    assert (taken[0].action, taken[0].changes, taken[1]) == ("update", ("a.b=c",), None)
    assert capsys.readouterr().out == "updated\n"
    assert list(tmp_path.iterdir()) == []


def test_error_of_up_is_one_line_without_state_file(tmp_path: Path) -> None:
    result = sandbox(tmp_path, "up", "--env", "nope", "--detach")
    _title, error = result.stdout.splitlines()
    assert (result.returncode, error.startswith("error: There is no stack 'nope'")) == (2, True)
    assert not (tmp_path / "run.json").exists()
