"""Properties of all responses."""

import asyncio
from collections import Counter
from itertools import islice
from typing import Any

import httpx
import pytest
from gatehouse.core.errors import Unauthorized
from gatehouse.features.audit import routes
from gatehouse.platform import semaphores
from gatehouse.services.console import app, pipeline
from starlette.types import Scope

from tests.runtime.conftest import locked
from tests.runtime.console_client import Console


async def test_database_failure_is_503_without_its_message(console: Console) -> None:
    console.sql("ALTER TABLE api_key RENAME COLUMN notes TO canary")
    try:
        reply = await console.get("/v1/keys")
    finally:
        console.sql("ALTER TABLE api_key RENAME COLUMN canary TO notes")
    assert (reply.status_code, reply.headers["retry-after"], reply.json()["code"]) == (
        503,
        "1",
        "unavailable",
    )
    assert "api_key" not in reply.text


async def test_requests_of_one_caller_leave_connections_to_others(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semaphores, "WAIT_S", 0.1)
    auditor = console.as_((await console.create(scopes=["role:auditor"]))["token"])
    async with locked(console.database, "usage_count"):
        reads = [
            asyncio.create_task(console.get("/v1/usage", headers=auditor))
            for _ in range(pipeline.CALLER_REQUESTS_MAX + 10)
        ]
        for reply in islice(asyncio.as_completed(reads), 10):
            await reply
        assert (await console.get("/v1/keys")).status_code == 200
    statuses = Counter(reply.status_code for reply in await asyncio.gather(*reads))
    assert statuses == {200: pipeline.CALLER_REQUESTS_MAX, 429: 10}


async def test_request_ends_with_its_response(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semaphores, "WAIT_S", 0.1)
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
            for _ in range(pipeline.CALLER_REQUESTS_MAX)
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


def _export(headers: dict[str, str]) -> Scope:
    return {
        **{"type": "http", "http_version": "1.1", "method": "GET", "scheme": "https", "state": {}},
        **{"path": "/v1/audit-export", "raw_path": b"/v1/audit-export", "query_string": b""},
        "headers": [(b"host", b"a"), (b"authorization", headers["Authorization"].encode())],
        "client": ("192.0.2.7", 4711),
    }


async def _never() -> Any:
    await asyncio.Event().wait()


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
