"""The processes of servers that a test suspends or kills."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login
from valkey import Valkey

from sandbox.local import servers
from sandbox.local.servers import Postgres, administrator


@pytest.fixture(scope="module")
async def own_server() -> AsyncIterator[Postgres]:
    """A server for one module, whose database has the schema."""
    with servers.postgres() as server:
        await runner.migrate(login(server.owner_url, "url"))
        yield server


def redis_pid(url: str) -> int:
    with Valkey.from_url(administrator(url)) as client:
        info: Any = client.info("server")
    return int(info["process_id"])


def postgres_pid(server: Postgres) -> int:
    return int((server.folder / "data" / "postmaster.pid").read_text().split()[0])


def postgres_pids(server: Postgres) -> list[int]:
    connections = "SELECT pid FROM pg_stat_activity WHERE datname = 'gatehouse';"
    return [postgres_pid(server), *map(int, server.sql(connections).split())]


@contextmanager
def suspended(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
