"""Core agents as processes behind a running gateway."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import child_processes
from tests.runtime.services.gateway.conftest import Gateway, Key, Reply
from tests.runtime.waiting import PAUSE_S

PATIENCE_S = 60
# More than the buffers between the agent and a client that does not read.
FILE_BYTES = 64 * 1024 * 1024

StartAgent = Callable[..., child_processes.Child]


@pytest.fixture
def start_agent(gateway: Gateway, agent: Key, tmp_path: Path) -> Iterator[StartAgent]:
    """Starts `gatehouse core` for a directory with one file, and waits for its registration."""
    started: list[child_processes.Child] = []

    def begin(instance: str, *options: str) -> child_processes.Child:
        directory, log = tmp_path / instance, tmp_path / f"{instance}.log"
        directory.mkdir(exist_ok=True)
        (directory / "name.txt").write_text(instance)
        with (directory / "large.bin").open("wb") as file:
            file.truncate(FILE_BYTES)
        command = [
            *(sys.executable, "-c", "from gatehouse.commands.cli import main; main()", "core"),
            *("--dir", str(directory), "--gateway", f"http://127.0.0.1:{gateway.port}"),
            *("--name", "files", "--instance", instance, *options),
        ]
        environment = {**os.environ, "GATEHOUSE_CORE_TOKEN": agent.token}
        child = child_processes.start(instance, command, log=log, env=environment)
        started.append(child)
        child_processes.wait_until(
            child, lambda: "registered instance" in log.read_text(), "registered", PATIENCE_S
        )
        return child

    yield begin
    for child in started:
        child.stop()


async def get(gateway: Gateway, key: Key, path: str = "name.txt") -> Reply:
    return await gateway.get(f"/cores/files/files/{path}", key.header)


async def download(gateway: Gateway, key: Key) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    start = f"GET /cores/files/files/large.bin HTTP/1.1\r\nHost: g\r\n{key.header}\r\n"
    writer.write(f"{start}Connection: close\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


async def has_ended(child: child_processes.Child) -> int:
    return await asyncio.to_thread(child.process.wait, PATIENCE_S)


async def test_sigterm_drains_an_agent_without_a_failed_request(
    gateway: Gateway, start_agent: StartAgent, tmp_path: Path
) -> None:
    first, second = start_agent("first"), start_agent("second")
    key = await gateway.create_key()
    while (await get(gateway, key)).body != b"first":  # the gateway sends requests to both
        await asyncio.sleep(PAUSE_S)
    second.stop()
    reader, writer = await download(gateway, key)
    third = start_agent("third")
    first.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(
        child_processes.wait_until,
        third,
        lambda: "draining" in (tmp_path / "first.log").read_text(),
        "drained",
        PATIENCE_S,
    )
    replies = [await get(gateway, key) for _ in range(20)]
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"third")}
    assert first.process.poll() is None  # the download is in progress
    body = await reader.read(-1)
    writer.close()
    assert len(body) == FILE_BYTES
    assert await has_ended(first) == 0
    rows = await gateway.pool.fetch(
        "SELECT instance_id, draining, expires_at <= now() AS ended FROM core WHERE name = 'files'"
    )
    assert {row["instance_id"]: (row["draining"], row["ended"]) for row in rows} == {
        "first": (True, True),
        "second": (True, True),
        "third": (False, False),
    }
