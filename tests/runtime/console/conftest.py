"""The console door on a real database, spoken to over ASGI."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from gatehouse.core.apikey import Pepper
from gatehouse.doors import asgi, console
from gatehouse.flows.log_level import LevelDesk
from gatehouse.flows.session import SessionRules, Sessions
from gatehouse.observe import Metrics, Observer
from gatehouse.store import postgres_engine
from gatehouse.store.clock import SystemClock
from gatehouse.store.postgres_audit import PostgresAuditTrail
from gatehouse.store.postgres_checkpoints import PostgresCheckpoints
from gatehouse.store.postgres_directory import PostgresDirectory
from gatehouse.store.postgres_keystore import PostgresKeyStore
from gatehouse.store.postgres_level import PostgresLevels
from gatehouse.store.postgres_notices import PostgresNotices
from gatehouse.store.postgres_replays import PostgresReplays
from gatehouse.store.postgres_sessions import PostgresSessions
from gatehouse.store.postgres_usage_reports import PostgresUsageReports
from gatehouse.types import KeyEnvironment, Limit
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.runtime.conftest import Database

BOOTSTRAP = "gtk_admin_" + secrets.token_hex(24)


@dataclass
class Lines:
    """A log that keeps what it is told."""

    kept: list[dict[str, Any]] = field(default_factory=list)

    def info(self, event: str, **fields: Any) -> None:
        self.kept.append({"event": event, **fields})

    warning = error = info


@dataclass
class Console:
    """A console door and a client of it that holds the bootstrap token."""

    parts: console.Parts
    client: httpx.AsyncClient
    lines: Lines
    database: Database
    engine: AsyncEngine

    async def create(self, **wish: Any) -> dict[str, Any]:
        reply = await self.client.post("/v1/keys", json={"name": "a key", **wish})
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    def expire(self, key_id: str) -> None:
        """Puts the expiry of a key into the past, which no request could."""
        self.database.sql(f"UPDATE api_key SET expires_at = now() - interval '1 second' WHERE id = '{key_id}'")  # noqa: S608

    def as_(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}


def parts_on(database: Database, lines: Lines) -> tuple[console.Parts, AsyncEngine]:
    """What a console is made of, on this database; the engine is the caller's to dispose of."""
    engine = postgres_engine.build(database.app, pool_max=4, application="tests")
    clock = SystemClock()
    parts = console.Parts(
        keys=PostgresKeyStore(engine, staleness_s=1.0),
        audit=PostgresAuditTrail(engine),
        cores=PostgresDirectory(engine),
        usage=PostgresUsageReports(engine),
        checkpoints=PostgresCheckpoints(engine),
        notices=PostgresNotices(engine),
        clock=clock,
        pepper=Pepper({1: b"p" * 32}, 1),
        cursor_pepper=Pepper({1: b"s" * 32}, 1),
        bootstrap_token=BOOTSTRAP,
        key_prefix="gtk",
        key_environment=KeyEnvironment.TEST,
        default_limit=Limit(name="requests", quota=600, window_s=60, burst=600),
        staleness_s=1.0,
        body_max_bytes=65_536,
        addresses=asgi.ClientAddresses(()),
        probes=(postgres_engine.DatabaseProbe(engine),),
        observer=Observer("console", lines, Metrics()),  # type: ignore[arg-type]
        random_bytes=secrets.token_bytes,
        https=True,
        replays=PostgresReplays(engine),
        levels=LevelDesk(PostgresLevels(engine), clock, "info"),
        sessions=Sessions(
            PostgresSessions(engine), clock, Pepper({1: b"s" * 32}, 1), SessionRules(900, 28_800, 300), secrets.token_bytes
        ),
    )
    return parts, engine


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Console]:
    lines = Lines()
    parts, engine = parts_on(database, lines)
    transport = httpx.ASGITransport(console.create(parts), client=("192.0.2.7", 4711))
    headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test", headers=headers) as client:
        yield Console(parts, client, lines, database, engine)
    await engine.dispose()
