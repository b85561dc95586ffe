"""PostgreSQL and Redis per session, a database per module."""

import asyncio
import itertools
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import DatabaseLogin, Pool, login

from sandbox.local import servers
from tests.runtime.console_client import Console, open_console
from tests.runtime.psql import Psql
from tests.runtime.rows import key_row
from tests.runtime.silent_servers import silent_server

#: The folder with `initdb` and `postgres` of another version (tests/references).
POSTGRES_VARIABLE = "GATEHOUSE_POSTGRES"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """`app_url` has the application's role, and `owner_url` the role that runs migrations."""

    server: servers.Postgres
    name: str
    psql: Psql

    @property
    def app_url(self) -> str:
        return self.server.app_url.rpartition("/")[0] + "/" + self.name

    @property
    def owner_url(self) -> str:
        return self.server.owner_url.rpartition("/")[0] + "/" + self.name

    @property
    def app(self) -> DatabaseLogin:
        return login(self.app_url, "url")

    @property
    def owner(self) -> DatabaseLogin:
        return login(self.owner_url, "url")

    def dump(self) -> str:
        command = [str(self.server.binaries / "pg_dump"), "--inserts", self.owner_url]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def sql(self, statements: str) -> str:
        return self.psql.run(statements)


@dataclass(frozen=True)
class Rows:
    pool: Pool

    async def add_key(self, key_id: str) -> None:
        await self.pool.execute(
            key_row("ON CONFLICT DO NOTHING", scopes="'{cores:register}'", limits="$2::jsonb"),
            key_id,
            json.dumps([{"name": "requests", "quota": 5, "window_s": 60, "burst": 5}]),
        )

    async def revoke(self, key_id: str) -> int:
        seq = await self.pool.fetchval(
            "UPDATE api_key SET state = 'revoked', revoked_at = now() WHERE id = $1 RETURNING "
            "change_seq",
            key_id,
        )
        return int(seq)


@asynccontextmanager
async def opened(access: DatabaseLogin, size_max: int = 4) -> AsyncIterator[Pool]:
    pool = Pool(access, application="tests", size_max=size_max)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def locked(database: Database, table: str) -> AsyncIterator[None]:
    async with opened(database.owner) as pool, pool.transaction() as connection:
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def lock_waits(pool: Pool) -> int:
    statement = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
        "wait_event_type = 'Lock'"
    )
    return int(await pool.fetchval(statement))


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Postgres]:
    folder = os.environ.get(POSTGRES_VARIABLE)
    with servers.postgres(servers=Path(folder) if folder else None) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with servers.redis() as url:
        yield url


@pytest.fixture
def silent_port() -> Iterator[int]:
    with silent_server() as port:
        yield port


def create_database(server: servers.Postgres, template: str) -> Database:
    name = f"test_{next(_numbers)}"
    database = Database(server, name, Psql(server, name))
    server.sql(
        f"CREATE DATABASE {database.name} OWNER {servers.OWNER_ROLE} TEMPLATE {template} "
        f"STRATEGY FILE_COPY"
    )
    return database


@pytest.fixture(scope="module")
def empty_database(postgres_server: servers.Postgres) -> Iterator[Database]:
    created = create_database(postgres_server, "template0")
    yield created
    created.psql.close()


@pytest.fixture(scope="session")
def migrated_database(postgres_server: servers.Postgres) -> Database:
    template = create_database(postgres_server, "template0")
    asyncio.run(runner.migrate(template.owner))
    return template


@pytest.fixture(scope="module")
def database(postgres_server: servers.Postgres, migrated_database: Database) -> Iterator[Database]:
    created = create_database(postgres_server, migrated_database.name)
    yield created
    created.psql.close()


@pytest.fixture(scope="module")
async def module_pool(database: Database) -> AsyncIterator[Pool]:
    async with opened(database.app) as pool:
        yield pool


@pytest.fixture
def rows(module_pool: Pool) -> Rows:
    return Rows(module_pool)


@pytest.fixture
async def console(database: Database, module_pool: Pool) -> AsyncIterator[Console]:
    async with open_console(database, module_pool) as started:
        yield started
