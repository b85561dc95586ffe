"""`make attack`: the attacks find the defects of a broken server, and the roles matrix equals an
independent table.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools.attack import connection, protocol_attacks, roles, stack_attacks
from tools.attack.__main__ import main
from tools.attack.connection import RecordingCore, Service
from tools.attack.outcome import Outcome, show
from tools.attack.protocol_attacks import Target
from tools.attack.stack_attacks import Stack

TOKEN = f"gtk_test_{secrets.token_hex(31)}"
PATIENCE_S = 0.3
PAUSE_S = 0.1


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken server closes no connection, so every request waits for this pause after the
    response.
    """
    monkeypatch.setattr(connection, "NEXT_READ_S", PAUSE_S)


@dataclass
class BrokenServer:
    """Returns 200 to every request that ends with an empty line, copies the request to the
    response, and closes no connection.

    It forwards every request to `core`.
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
                body = await reader.readexactly(int(length[1])) if length else b""
                reply = {
                    "key": {"id": "000000000000"},
                    "token": TOKEN,
                    "code": "VALID",
                    "links": [{"url": "https://a.example/s#" + "l" * 40}],
                    "request": (head + body).decode("latin-1"),
                }
                content = json.dumps(reply).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
                )
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
    """For `main`, which runs an event loop of its own."""
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


def test_roles_matrix_equals_the_independent_table() -> None:
    declared, table = roles.declared(), roles.table()
    difference = {
        name: sorted(declared[name] ^ table[name])
        for name in roles.NAMES
        if declared[name] != table[name]
    }
    assert difference == {}, (
        "check that these roles may call these operations, then change tools/attack/roles.toml"
    )
    assert len(roles.all_operations()) > 40


@pytest.mark.parametrize("attack", protocol_attacks.ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("exact", [True, False], ids=["sandbox", "deployment"])
async def test_protocol_attack_finds_a_broken_server(
    attack: protocol_attacks.Attack, exact: bool
) -> None:
    async with broken_server() as broken:
        core = broken.core if exact else None
        outcome = await attack(
            Target(
                Service(broken.url, PATIENCE_S),
                exact=exact,
                core=core,
                deadline_s=PATIENCE_S,
                at_once=20,
            )
        )
    assert outcome.failures
    assert outcome.failed


@pytest.mark.parametrize("attack", stack_attacks.ATTACKS, ids=lambda attack: attack.__name__)
async def test_stack_attack_finds_a_broken_server(
    attack: stack_attacks.Attack, tmp_path: Path
) -> None:
    (tmp_path / "gateway.log").write_text(f"GET /{TOKEN}")
    async with broken_server() as broken:
        outcome = await attack(Stack(broken.url, broken.url, broken.url, TOKEN, tmp_path))
    assert outcome.failures


def test_broken_deployment_fails_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with broken_server_in_a_thread() as broken:
        assert main(["--url", broken.url, "--yes", "--deadline", str(PATIENCE_S)]) == 1
    output = capsys.readouterr().out
    assert re.search(r"request smuggling +│ +\d+ +│ \d+ failed", output)
    for name in ("SSRF", "canaries", "roles matrix", "races"):
        assert re.search(rf"{name} +│ +0 +│ not run +│ changes data", output)


def test_deployment_is_not_attacked_without_confirmation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with broken_server_in_a_thread() as broken:
        assert main(["--url", broken.url]) == 2
        assert broken.requests == 0
    assert "not confirmed" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["gateway.example.com", "ftp://a.example", "http://127.0.0.1:1"])
def test_deployment_that_cannot_be_attacked_is_an_error(url: str) -> None:
    assert main(["--url", url, "--yes"]) == 2


def test_group_without_an_attack_fails() -> None:
    assert show([Outcome("a", cases=1)], "a") == 0
    assert show([Outcome("a", not_run="b")], "a") == 0
    assert show([Outcome("a")], "a") == 1
    assert show([Outcome("a", cases=1, failures=["b"])], "a") == 1
