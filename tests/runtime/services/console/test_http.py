"""Properties of all responses."""

import asyncio
import threading
from collections import Counter
from itertools import islice
from typing import Any

import httpx
import pytest
from gatehouse.core.errors import Unauthorized
from gatehouse.core.token_scanner import SESSION_PREFIX
from gatehouse.features.audit import routes
from gatehouse.platform import observability
from gatehouse.platform.http import asgi
from gatehouse.platform.http.forwarding import CONSOLE_COOKIE
from gatehouse.services.console import app, pipeline

from tests.runtime.conftest import lock_waits, locked
from tests.runtime.console_client import Console
from tests.runtime.features.secrets.aws_calls import counted
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.tokens import unknown_token
from tests.runtime.waiting import until


async def test_database_failure_is_503_without_its_message(console: Console) -> None:
    console.sql("ALTER TABLE api_key RENAME COLUMN owner TO canary")
    try:
        reply = await console.get("/v1/keys")
    finally:
        console.sql("ALTER TABLE api_key RENAME COLUMN canary TO owner")
    assert (reply.status_code, reply.headers["retry-after"], reply.json()["code"]) == (
        503,
        "1",
        "unavailable",
    )
    assert "api_key" not in reply.text


@pytest.mark.bound("console.pipeline:REQUESTS_MAX", "console.pipeline:WAIT_S")
async def test_requests_of_one_caller_leave_connections_to_others(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "WAIT_S", 0.1)
    auditor = console.as_((await console.create(scopes=["role:auditor"]))["token"])
    async with locked(console.database, "usage_count"):
        reads = [
            asyncio.create_task(console.get("/v1/usage", headers=auditor))
            for _ in range(pipeline.REQUESTS_MAX + 10)
        ]
        for reply in islice(asyncio.as_completed(reads), 10):
            await reply
        assert (await console.get("/v1/keys")).status_code == 200
    statuses = Counter(reply.status_code for reply in await asyncio.gather(*reads))
    assert statuses == {200: pipeline.REQUESTS_MAX, 429: 10}


@pytest.mark.bound("console.pipeline:NETWORK_REQUESTS_MAX")
async def test_many_callers_of_a_network_leave_the_console_to_others(
    console: Console, sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests with the content of secrets, which can wait for memory, count separately."""
    monkeypatch.setattr(pipeline, "WAIT_S", 0.1)
    monkeypatch.setattr(pipeline, "NETWORK_REQUESTS_MAX", 2)
    callers = [console.as_((await console.create(scopes=["admin"]))["token"]) for _ in range(3)]
    app = console.application(**sharing.console("https://a"))
    near, far = (
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=(address, 1)), base_url="https://a"
        )
        for address in ("192.0.2.7", "198.51.100.7")
    )
    async with locked(console.database, "usage_count"):
        reads = [asyncio.create_task(near.get("/v1/usage", headers=caller)) for caller in callers]
        denied = await next(asyncio.as_completed(reads))
        statuses = [(await far.get("/v1/keys", headers=caller)).status_code for caller in callers]
        with counted() as subjects:
            secret = await near.post("/v1/secrets", json={"text": "x"}, headers=callers[0])
    assert {owner.partition(":")[0] for (owner,) in subjects} == {"key"}
    assert (denied.status_code, statuses) == (429, [200, 200, 200])
    assert secret.status_code == 201
    await asyncio.gather(*reads)


@pytest.mark.parametrize(
    ("table", "credential"),
    [
        ("api_key", {"Authorization": f"Bearer {unknown_token().text}"}),
        ("sign_in_link", {"Authorization": f"Bearer gtk_signin_{43 * 'a'}"}),
        ("console_session", {"Cookie": f"{CONSOLE_COOKIE}={SESSION_PREFIX}{43 * 'a'}"}),
    ],
)
async def test_guesses_of_a_network_leave_connections_to_others(
    console: Console, table: str, credential: dict[str, str]
) -> None:
    headers = {**credential, "Origin": "https://console.test"}
    async with console.connect(token="", database_pool_size=4) as client:
        async with locked(console.database, table):
            guesses = [
                asyncio.create_task(client.post("/v1/sessions", headers=headers)) for _ in range(9)
            ]
            while await lock_waits(console.pool) < 1:
                await asyncio.sleep(0.001)
            assert (await console.get("/v1/webhooks")).status_code == 200
        assert {reply.status_code for reply in await asyncio.gather(*guesses)} == {401}


async def test_lists_leave_connections_to_other_requests(console: Console) -> None:
    created = [await console.create(scopes=["role:auditor"]) for _ in range(3)]
    async with console.connect(database_pool_size=6) as client:
        async with locked(console.database, "usage_count"):
            reads = [
                asyncio.create_task(client.get("/v1/usage", headers=console.as_(each["token"])))
                for each in created
                for _ in range(2)
            ]
            while await lock_waits(console.pool) < 2:
                await asyncio.sleep(0.001)
            assert (await client.post("/v1/keys", json={"name": "a"})).status_code == 201
            assert (await client.get("/v1/webhooks")).status_code == 200
            assert (await client.delete("/v1/cores/none")).status_code == 404
            revocation = f"/v1/keys/{created[2]['key']['id']}/revoke"
            assert (await client.post(revocation, json={"reason": "a"})).status_code == 200
        statuses = [reply.status_code for reply in await asyncio.gather(*reads)]
        assert statuses == [200, 200, 200, 200, 401, 401]


async def test_request_ends_with_its_response(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "WAIT_S", 0.1)
    auditor = console.as_((await console.create(scopes=["role:auditor"]))["token"])
    sending, is_read = asyncio.Semaphore(0), asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sending.release()
            await is_read.wait()

    app = console.application()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://a"
    ) as client:
        exports = [
            asyncio.create_task(app(_export(auditor), _never, send))
            for _ in range(pipeline.REQUESTS_MAX)
        ]
        for _ in exports:
            await sending.acquire()
        assert (await client.get("/v1/audit-events", headers=auditor)).status_code == 429
        is_read.set()
        await asyncio.gather(*exports)
        assert (await client.get("/v1/audit-events", headers=auditor)).status_code == 200


async def test_response_ends_with_its_credential(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_BATCH", 1)
    created = await console.create(scopes=["role:auditor"])
    parts = list[bytes]()

    async def send(message: Any) -> None:
        if message.get("body"):
            parts.append(message["body"])
            await console.post(f"/v1/keys/{created['key']['id']}/revoke", json={})

    with pytest.raises(Unauthorized):
        await console.application()(_export(console.as_(created["token"])), _never, send)
    assert len(parts) == 1


def _export(headers: dict[str, str]) -> asgi.Scope:
    return {
        **{"type": "http", "http_version": "1.1", "method": "GET", "scheme": "https", "state": {}},
        **{"path": "/v1/audit-export", "raw_path": b"/v1/audit-export", "query_string": b""},
        "headers": [(b"host", b"a"), (b"authorization", headers["Authorization"].encode())],
        "client": ("192.0.2.7", 4711),
    }


async def _never() -> Any:
    await asyncio.Event().wait()


@pytest.mark.requirement("SS-13")
@pytest.mark.parametrize(
    "path", ["/openapi.json", "/operations.json", "/healthz", "/v1/keys", "/v1/nothing"]
)
async def test_every_response_has_the_security_headers(console: Console, path: str) -> None:
    headers = (await console.get(path)).headers
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"].startswith("max-age=63072000")
    assert headers["x-request-id"].startswith("req_")


async def test_openapi_document_is_served(console: Console) -> None:
    document = (await console.get("/openapi.json")).json()
    assert document["paths"]["/v1/keys"]["post"]["security"] == [{"admin": []}, {"session": []}]


async def test_liveness_readiness_and_metrics_are_served(console: Console) -> None:
    assert (await console.get("/healthz")).json() == {"status": "ok"}
    assert (await console.get("/readyz")).json() == {
        "status": "ready",
        "checks": {"database": "ok"},
    }
    assert (
        'gatehouse_request_seconds_count{route="/readyz",service="console"'
        in (await console.get("/metrics")).text
    )


async def test_metrics_are_computed_once_beside_other_requests(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, complete = list[object](), threading.Event()

    def compute(registry: object) -> bytes:
        computed.append(registry)
        assert complete.wait(10)
        return b"metrics"

    monkeypatch.setattr(observability, "generate_latest", compute)
    reading = [asyncio.create_task(console.get("/metrics")) for _ in range(3)]
    await until(lambda: computed)
    assert (await console.get("/healthz")).status_code == 200
    complete.set()
    assert [reply.text for reply in await asyncio.gather(*reading)] == ["metrics"] * 3
    assert len(computed) == 1


@pytest.mark.requirement("TR-12")
async def test_health_is_served_while_requests_wait_for_the_database(console: Console) -> None:
    async with console.pool.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(7126502)")  # of audit events
        waiting = [asyncio.create_task(console.create(name=f"key {number}")) for number in range(6)]
        for _ in range(20):
            assert (await console.get("/healthz")).status_code == 200
        assert [task for task in waiting if task.done()] == []
    assert len(await asyncio.gather(*waiting)) == 6


async def test_log_contains_the_route_not_the_path(console: Console) -> None:
    await console.get("/v1/keys/gtk_test_pasted_by_mistake")
    line = console.log.entries[-1]
    assert (line["route"], line["path"], line["status"], line["key_id"]) == (
        "/v1/keys/{id}",
        "/v1/keys/{id}",
        404,
        "bootstrap",
    )


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://console.example.com", "https://console.example.com"),
        ("https://Console.example.com:443/x", "https://console.example.com"),
        ("https://console.example.com:8443", "https://console.example.com:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:5555", "http://[::1]:5555"),
        ("", ""),
    ],
)
def test_origin_has_the_form_that_browsers_send(url: str, origin: str) -> None:
    assert app._origin(url) == origin
