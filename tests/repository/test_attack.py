"""The attacks find the defects of a broken server."""

import asyncio
import itertools
import math
import multiprocessing
import os
import re
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from gatehouse.core.roles import Role
from gatehouse.services.console.asgi import ENDPOINTS

from tools.attack import __main__ as command
from tools.attack import connection, sandbox_attacks
from tools.attack.attacks import ATTACKS, Attack, Outcome, Target, Usage, attack, usage_of
from tools.attack.connection import RecordingCore, Service
from tools.attack.sandbox_attacks import CPU_S_MAX, SANDBOX_ATTACKS, floods, proxied_service

#: The broken server and its clients run in the process of the test.
THIS_PROCESS = partial(usage_of, {"gateway": os.getpid()})
PATIENCE_S = 0.3
PAUSE_S = 0.1


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken server keeps connections open, so each request waits after the response."""
    monkeypatch.setattr(connection, "NEXT_READ_S", PAUSE_S)
    monkeypatch.setattr(sandbox_attacks, "CLIENTS", 1)
    monkeypatch.setattr(sandbox_attacks, "REQUESTS", 2)
    monkeypatch.setattr(sandbox_attacks, "UNFINISHED", 1)


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
        sizes = itertools.count(0, 1_000_000_000)
        target = Target(
            service,
            core=broken.core,
            proxied=service,
            scan=("git", "ls-files"),
            usage=THIS_PROCESS if run is floods else lambda: {"gateway": Usage(next(sizes), 0)},
            deadline_s=PATIENCE_S,
            at_once=20,
        )
        assert (await attack(run, target)).failures


@asynccontextmanager
async def service_with_floods(posts: Path, *, closes: bool) -> AsyncIterator[Service]:
    """A service that answers a GET request after the next POST request, for each of which `posts`
    becomes one byte longer. closes: it closes WebSockets.
    """
    posted = asyncio.Condition()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade" in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            await reader.read(0 if closes else 1)
        else:
            async with posted:
                if head.startswith(b"POST"):
                    with posts.open("ab") as file:
                        file.write(b".")
                    posted.notify_all()
                else:
                    await posted.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Service(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()


def usage_of_posts(posts: Path, post_s: float) -> dict[str, Usage]:
    return {"gateway": Usage(0, posts.stat().st_size * post_s)}


@pytest.mark.parametrize(
    ("post_s", "closes", "p99_s_max", "found"),
    [
        (0.0, False, math.inf, []),
        (2 * CPU_S_MAX, False, math.inf, ["CPU time"]),
        (0.0, False, 0.0, ["p99"]),
        (0.0, True, math.inf, ["WebSocket"]),
    ],
)
async def test_flood_that_stops_a_service_is_found(
    post_s: float,
    closes: bool,
    p99_s_max: float,
    found: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sandbox_attacks, "P99_S_MAX", p99_s_max)
    outcome = Outcome("floods")
    posts = tmp_path / "posts"
    posts.touch()
    async with service_with_floods(posts, closes=closes) as service:
        target = Target(service, usage=partial(usage_of_posts, posts, post_s))
        flood = partial(sandbox_attacks._repeat, service, connection.request(b"POST", b"/"))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            await sandbox_attacks._flood(target, outcome, other, "flood", service, flood)
    assert outcome.cases == 5
    assert len(outcome.failures) == len(found)
    assert all(text in failure for text, failure in zip(found, outcome.failures, strict=True))


@pytest.mark.parametrize("run", SANDBOX_ATTACKS[1::2], ids=lambda run: run.__name__)
async def test_attacks_without_a_service_are_rejected(run: Attack) -> None:
    async with broken_server() as broken, proxied_service() as proxied:
        scan = (str(Path(sys.executable).with_name("gatehouse")), "scan")
        service = Service(broken.url, PATIENCE_S)
        target = Target(service, proxied=proxied, scan=scan, deadline_s=PATIENCE_S)
        assert (await attack(run, target)).failures == []


def test_broken_deployment_fails_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "DEPLOYMENT_DEADLINE_S", PATIENCE_S)
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
