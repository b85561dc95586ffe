"""PostgreSQL and Redis require passwords and exit with the sandbox."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import asyncpg
import pytest
import valkey

from sandbox.child_processes import ProcessRecord
from sandbox.errors import SandboxError
from sandbox.local import servers
from tests import processes, requires

_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def database() -> Iterator[servers.Postgres]:
    with servers.postgres() as server:
        yield server


def recorded_server(record: Path) -> ProcessRecord:
    return ProcessRecord(**json.loads(record.read_text())["server"])


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


async def _user(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SELECT current_user"))
    finally:
        await connection.close()


async def test_owner_and_application_log_in_over_tcp(database: servers.Postgres) -> None:
    assert [await _user(database.owner_url), await _user(database.app_url)] == [
        "gatehouse_owner",
        "gatehouse_app",
    ]


def test_postgres_does_not_run_as_root(database: servers.Postgres) -> None:
    """Its user cannot write to the folder in which this user writes a file and runs a copy of
    psql.
    """
    assert (database.folder / "data" / "postmaster.pid").stat().st_uid != 0
    assert (database.folder.parent / "owner.json").is_file()
    assert database.folder.parent.stat().st_uid == os.geteuid()


@requires.ROOT_USER
@pytest.mark.parametrize("prepare", [requires.give_away, lambda path: path.chmod(0o666)])
def test_record_of_another_user_stops_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    victim = subprocess.Popen(["sleep", "60"])
    try:
        dead = ProcessRecord.of("owner", os.getpid())
        record = tmp_path / "gatehouse-server-evil" / "owner.json"
        record.parent.mkdir()
        owner = {**asdict(dead), "pid": 2**22 - 1}
        record.write_text(
            json.dumps({"owner": owner, "server": asdict(ProcessRecord.of("redis", victim.pid))})
        )
        prepare(record)
        with servers.redis():
            assert victim.poll() is None
        assert record.exists()
    finally:
        victim.kill()
        victim.wait()


def test_redis_requires_the_password_and_permissions() -> None:
    with servers.redis() as url:
        assert valkey.Valkey.from_url(url).ping()
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(valkey.AuthenticationError):
            valkey.Valkey(port=port).ping()
        with pytest.raises(valkey.exceptions.NoPermissionError):
            valkey.Valkey.from_url(url).flushall()


def test_redis_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = tmp_path / "called"
    processes.executable(tmp_path / "valkey-server", f"#!/bin/sh\ntouch {called}\nexit 7\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(
            SandboxError, match="redis exited with code 7 before it was ready for connections"
        ),
        servers.redis(),
    ):
        pass
    assert called.exists()


def test_servers_of_a_killed_parent_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import threading
from sandbox.local import servers
with servers.postgres(), servers.redis():
    print("ready", flush=True)
    threading.Event().wait()
"""
    # Not tmp_path: the path of a Unix socket has at most 103 bytes on macOS, and PostgreSQL does
    # not run as root.
    folder = Path(tempfile.mkdtemp(prefix="servers-", dir="/tmp"))
    folder.chmod(0o755)
    command, env = [sys.executable, "-c", code], {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        processes = [recorded_server(record) for record in folder.glob("*/owner.json")]
        assert [process.alive() for process in processes] == [True, True]
        parent.send_signal(signal.SIGKILL)
    if sys.platform == "linux":
        assert until(lambda: not any(process.alive() for process in processes))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    servers.clean_up()
    assert [process.alive() for process in processes] == [False, False]
    (folder / f"gatehouse-ports-{os.geteuid()}").unlink()
    folder.rmdir()  # fails unless the folders of both servers are deleted
