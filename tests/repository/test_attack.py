"""The attacks find the defects of a broken server."""

import asyncio
import re
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gatehouse.core.roles import Role
from gatehouse.services.console.asgi import ENDPOINTS

from tools.attack import __main__ as command
from tools.attack import connection
from tools.attack.attacks import ATTACKS, Attack, Outcome, Target, attack
from tools.attack.connection import RecordingCore, Service
from tools.attack.sandbox_attacks import SANDBOX_ATTACKS

PATIENCE_S = 0.3
PAUSE_S = 0.1


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken server keeps connections open, so each request waits after the response."""
    monkeypatch.setattr(connection, "NEXT_READ_S", PAUSE_S)


@dataclass
class BrokenServer:
    """Returns 200 to all that ends with an empty line, forwards it to `core`, keeps connections
    open.
    """

    url: str = ""
    requests: int = 0
    core: RecordingCore = field(default_factory=RecordingCore)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\n\r\n")
                self.requests += 1
                self.core.heads.append(head)
                length = re.search(rb"\r\ncontent-length: (\d{1,6})\r", head.lower())
                if length:
                    await reader.readexactly(int(length[1]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            writer.close()


@asynccontextmanager
async def broken_server() -> AsyncIterator[BrokenServer]:
    broken = BrokenServer()
    server = await asyncio.start_server(broken.serve, "127.0.0.1", 0, limit=1 << 20)
    broken.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield broken
    server.close()


@contextmanager
def broken_server_in_a_thread() -> Iterator[BrokenServer]:
    started, stopped = threading.Event(), threading.Event()
    servers: list[BrokenServer] = []

    async def run() -> None:
        async with broken_server() as broken:
            servers.append(broken)
            started.set()
            await asyncio.to_thread(stopped.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    yield servers[0]
    stopped.set()
    thread.join()


def test_roles_equal_the_independent_table() -> None:
    path = Path(__file__).with_name("roles.toml")
    table = {name: set(row["operations"]) for name, row in tomllib.loads(path.read_text()).items()}
    everyone = table.pop("everyone")
    with_roles = [endpoint for endpoint in ENDPOINTS if endpoint.roles]
    table[Role.OWNER.value] = {endpoint.operation_id for endpoint in with_roles}
    for role in Role:
        declared = {row.operation_id for row in with_roles if role.value in row.roles}
        assert declared == table[role.value] | everyone, (
            f"check that {role.value} may call these operations, then change {path.name}"
        )
    assert len(with_roles) > 40


@pytest.mark.parametrize("run", [*ATTACKS, *SANDBOX_ATTACKS], ids=lambda run: run.__name__)
async def test_attack_finds_a_broken_server(run: Attack) -> None:
    async with broken_server() as broken:
        service = Service(broken.url, PATIENCE_S)
        target = Target(
            service, core=broken.core, scan=("git", "ls-files"), deadline_s=PATIENCE_S, at_once=20
        )
        assert (await attack(run, target)).failures


@pytest.mark.parametrize("run", SANDBOX_ATTACKS, ids=lambda run: run.__name__)
async def test_attacks_without_a_service_are_rejected(run: Attack) -> None:
    async with broken_server() as broken:
        scan = (str(Path(sys.executable).with_name("gatehouse")), "scan")
        service = Service(broken.url, PATIENCE_S)
        target = Target(service, scan=scan, deadline_s=PATIENCE_S)
        assert (await attack(run, target)).failures == []


def test_broken_deployment_fails_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "DEADLINE_S", PATIENCE_S)
    with broken_server_in_a_thread() as broken:
        assert command.main(["--url", broken.url, "--yes"]) == 1
    output = capsys.readouterr().out
    for run in ATTACKS:
        name = run.__name__.replace("_", " ")
        assert re.search(rf"{name} +│ +\d+ +│ \d+ failed", output)


def test_deployment_is_not_attacked_without_confirmation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with broken_server_in_a_thread() as broken:
        assert command.main(["--url", broken.url]) == 2
        assert broken.requests == 0
    assert "not confirmed" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["gateway.example.com", "ftp://a.example", "http://127.0.0.1:1"])
def test_deployment_that_cannot_be_attacked_is_an_error(url: str) -> None:
    assert command.main(["--url", url, "--yes"]) == 2


def test_exit_code_is_0_if_every_attack_is_rejected() -> None:
    assert command.show([Outcome("a", 1), Outcome("b", 2)], "a") == 0
