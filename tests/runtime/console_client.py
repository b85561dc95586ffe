"""A console on a real database, called over ASGI."""

from __future__ import annotations

import io
import ipaddress
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
from gatehouse.core import imported_tokens
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.keys import KeyEnvironment, RateLimit
from gatehouse.core.token import Pepper
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.identity.repository import SessionRepository
from gatehouse.features.identity.service import SessionRules, Sessions
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.operations.service import LogLevelService
from gatehouse.features.transfer.repository import ImportRepository
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.platform.db.pool import DatabaseProbe, Pool
from gatehouse.platform.http.idempotency import IdempotencyStore
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.tracing.context import trace_id_of
from gatehouse.platform.tracing.tracer import FinishedSpan, Tracer
from gatehouse.services.console import asgi as console_asgi
from gatehouse.services.console import dependencies as console_dependencies

if TYPE_CHECKING:
    from tests.runtime.conftest import Database

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
BOOTSTRAP = "gtk_admin_" + secrets.token_hex(24)


class LogRecorder(io.BytesIO):
    """Records log lines."""

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@dataclass
class Console:
    """A console and a client that sends the bootstrap token."""

    dependencies: console_dependencies.Dependencies
    client: httpx.AsyncClient
    log: LogRecorder
    database: Database
    pool: Pool
    #: The spans of all requests.
    spans: list[FinishedSpan]

    async def create(self, **properties: Any) -> dict[str, Any]:
        reply = await self.client.post("/v1/keys", json={"name": "a key", **properties})
        assert reply.status_code == 201, reply.text
        created: dict[str, Any] = reply.json()
        return created

    async def import_key(self, token: str, scheme: str) -> str:
        """Stores a key as an import does, and returns its ID."""
        pepper, text = self.dependencies.pepper, imported_tokens.material(scheme, token)
        assert text is not None
        key_id = imported_tokens.imported_key_id(text, pepper, 1)
        assert key_id is not None
        async with self.pool.transaction() as connection:
            await connection.execute(
                "INSERT INTO api_key (id, family_id, digest, pepper_generation, id_generation, environment, state, name, owner,"
                " scopes, cores, limits, scheme, created_at, created_by)"
                " VALUES ($1, $1, $2, 1, 1, 'test', 'active', 'imported', '', '{}', '{}', '[]', $3, now(), 'test')",
                key_id,
                pepper.digest(text, 1),
                scheme,
            )
        return key_id

    def expire(self, key_id: str) -> None:
        """Sets the expiry of a key to a past time, which the API does not allow."""
        self.database.sql(f"UPDATE api_key SET expires_at = now() - interval '1 second' WHERE id = '{key_id}'")  # noqa: S608

    def as_(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}


def create_pool(database: Database) -> Pool:
    """The pool of a console. The caller closes it."""
    return Pool(database.app, application="tests", size_max=4)


def create_dependencies(pool: Pool, log: LogRecorder) -> console_dependencies.Dependencies:
    """Dependencies of a console on a database."""
    clock, pepper = Clock(), Pepper({1: b"p" * 32}, 1)
    keys, audit, usage = KeyRepository(pool, staleness_s=1.0), AuditRepository(pool), UsageRepository(pool)
    rules = SessionRules(900, 28_800, 300)
    sessions = Sessions(SessionRepository(pool), clock, Pepper({1: b"s" * 32}, 1), rules, secrets.token_bytes)
    return console_dependencies.Dependencies(
        keys=keys,
        imports=ImportRepository(pool, keys),
        audit=audit,
        cores=CoreRepository(pool),
        usage=usage,
        notifications=NotificationRepository(pool),
        clock=clock,
        pepper=pepper,
        cursor_pepper=Pepper({1: b"s" * 32}, 1),
        bootstrap_token=BOOTSTRAP,
        key_prefix="gtk",
        key_environment=KeyEnvironment.TEST,
        default_limit=RateLimit(name="requests", quota=600, window_s=60, burst=600),
        staleness_s=1.0,
        body_max_bytes=65_536,
        addresses=ClientAddresses(()),
        probes=(DatabaseProbe(pool),),
        observer=Observer("console", "info", "test", Stream(log)),
        random_bytes=secrets.token_bytes,
        https=True,
        idempotency_store=IdempotencyStore(pool),
        log_levels=LogLevelService(pool, clock, "info"),
        sessions=sessions,
    )


@asynccontextmanager
async def open_console(database: Database, pool: Pool | None = None, **changes: Any) -> AsyncIterator[Console]:
    """A console on this database until the end of the block. pool: remains open; by default, a pool that is closed at the end.
    `changes`: dependencies to replace."""
    log, own_pool = LogRecorder(), create_pool(database)
    pool = own_pool if pool is None else pool
    dependencies, spans = replace(create_dependencies(pool, log), **changes), list[FinishedSpan]()
    dependencies.observer.tracer = Tracer(spans.append, 100.0)
    transport = httpx.ASGITransport(console_asgi.create(dependencies), client=("192.0.2.7", 4711))
    headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test", headers=headers) as client:
        yield Console(dependencies, client, log, database, pool, spans)
    await own_pool.close()


def assert_problem(reply: httpx.Response, status: int, location: str, message: str, fix: str = "") -> None:
    """Asserts that the response is a problem document with one error."""
    problem = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status_code, problem["status"]) == (status, status)
    assert problem["errors"] == [{"location": location, "message": message, **({"fix": fix} if fix else {})}]
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["trace_id"] == trace_id_of(problem["request_id"])
