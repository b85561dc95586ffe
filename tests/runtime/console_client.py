"""A console on a real database, called over ASGI."""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx
from gatehouse.core.clock import Clock
from gatehouse.core.tokens import imported_tokens
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.settings import Settings, load
from gatehouse.platform.tracing.context import trace_id_of
from gatehouse.platform.tracing.tracer import FinishedSpan, Tracer
from gatehouse.services.console.app import Composition
from pydantic import SecretStr

from tests.runtime.rows import key_row

if TYPE_CHECKING:
    from tests.runtime.conftest import Database

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
BOOTSTRAP = "gtk_admin_" + secrets.token_hex(24)


class LogRecorder(io.BytesIO):
    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@dataclass
class Console:
    composition: Composition
    log: LogRecorder
    database: Database
    pool: Pool
    #: The spans of all requests.
    spans: list[FinishedSpan]
    client: httpx.AsyncClient = field(init=False)

    @property
    def clock(self) -> Clock:
        return self.composition.clock

    @property
    def pepper(self) -> Pepper:
        return self.composition.pepper

    def application(self, **changes: Any) -> Any:
        """Another application on the same database. `changes`: settings and fields of the
        composition.
        """
        return changed(self.composition, changes).application()

    def connect(
        self,
        *,
        address: str = "192.0.2.7",
        url: str = "https://console.test",
        token: str = BOOTSTRAP,
        **changes: Any,
    ) -> httpx.AsyncClient:
        """A client of another application. token: credential; empty for none. changes: see
        `application`.
        """
        transport = httpx.ASGITransport(self.application(**changes), client=(address, 4711))
        return httpx.AsyncClient(
            transport=transport, base_url=url, headers=self.as_(token) if token else {}
        )

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, path, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.post(path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.patch(path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.delete(path, **options)

    async def events(self, **query: object) -> list[dict[str, Any]]:
        reply = await self.get("/v1/audit-events", params=query)
        return list(reply.json()["events"])

    def sql(self, statements: str) -> str:
        return self.database.sql(statements)

    async def create(self, **properties: Any) -> dict[str, Any]:
        customer = {"create_customer": True} if properties.get("customer_id") else {}
        reply = await self.post("/v1/keys", json={"name": "a key", **customer, **properties})
        assert reply.status_code == 201, reply.text
        created: dict[str, Any] = reply.json()
        return created

    async def create_id(self, **properties: Any) -> str:
        created = await self.create(**properties)
        return str(created["key"]["id"])

    async def import_key(self, token: str) -> str:
        pepper, text = self.pepper, imported_tokens.material(token)
        key_id = imported_tokens.imported_key_id(text, pepper, 1)
        assert key_id is not None
        async with self.pool.transaction() as connection:
            await connection.execute(
                key_row(family_id="$1", digest="$2", id_generation="1", scheme="$3"),
                key_id,
                pepper.digest(text, 1),
                imported_tokens.SCHEME,
            )
        return key_id

    def expire(self, key_id: str) -> None:
        self.database.sql(
            f"UPDATE api_key SET expires_at = now() - interval '1 second' WHERE id = '{key_id}'"  # noqa: S608
        )

    def as_(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}


def create_pool(database: Database) -> Pool:
    return Pool(database.app, application="tests", size_max=4)


def composition(pool: Pool, log: LogRecorder, **changes: Any) -> Composition:
    settings = load(
        {
            "GATEHOUSE_ENVIRONMENT": "test",
            "GATEHOUSE_DATABASE_URL": "postgresql://user@host/database",
            "GATEHOUSE_BOOTSTRAP_TOKEN": BOOTSTRAP,
            "GATEHOUSE_SESSION_KEY": session_key({1: b"s" * 32}).get_secret_value(),
            "GATEHOUSE_MAX_STALENESS_MS": "1500",
            "GATEHOUSE_CONSOLE_URL": "https://console.test",
        }
    )
    observer, pepper = Observer("console", "info", "test", Stream(log)), Pepper({1: b"p" * 32}, 1)
    return changed(
        Composition(settings, pool, observer, Clock(), pepper, signer=None, sharing=None), changes
    )


def session_key(generations: dict[int, bytes]) -> SecretStr:
    encoded = {str(number): base64.b64encode(key).decode() for number, key in generations.items()}
    return SecretStr(json.dumps({"current": max(generations), "generations": encoded}))


def changed(composition: Composition, changes: dict[str, Any]) -> Composition:
    settings = {name: value for name, value in changes.items() if name in Settings.model_fields}
    fields = {name: value for name, value in changes.items() if name not in settings}
    return replace(composition, settings=composition.settings.model_copy(update=settings), **fields)


@asynccontextmanager
async def open_console(
    database: Database, pool: Pool | None = None, **changes: Any
) -> AsyncIterator[Console]:
    """A console on this database. pool: remains open if given. `changes`: see `composition`."""
    log, own_pool = LogRecorder(), create_pool(database)
    pool = own_pool if pool is None else pool
    composed, spans = composition(pool, log, **changes), list[FinishedSpan]()
    composed.observer.tracer = Tracer(spans.append, 100.0)
    console = Console(composed, log, database, pool, spans)
    async with console.connect() as console.client:
        yield console
    await own_pool.close()


def outcome(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def rejected_part(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["errors"][0]["location"]


def assert_problem(
    reply: httpx.Response, status: int, location: str, message: str, fix: str = ""
) -> None:
    problem = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status_code, problem["status"]) == (status, status)
    assert problem["errors"] == [
        {"location": location, "message": message, **({"fix": fix} if fix else {})}
    ]
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["trace_id"] == trace_id_of(problem["request_id"])
