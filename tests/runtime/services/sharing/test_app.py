"""The sharing service: its page and health endpoints."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from gatehouse.features.secrets.table import Table
from gatehouse.platform.observability import Observer
from gatehouse.services.sharing.app import create

from tests.runtime.features.secrets.services import ORIGIN, Sharing


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("GET", "/s/abc", 404), ("GET", "/nothing", 404), ("DELETE", "/", 405)],
)
async def test_service_without_storage_responds_with_pages(
    method: str, path: str, status: int
) -> None:
    app: Any = create(observer=Observer("sharing", "error", "test"), https=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        reply = await client.request(method, path)
    assert (reply.status_code, "<h1>" in reply.text) == (status, True)
    assert (status == 405) == (reply.headers.get("allow") == "GET, HEAD, OPTIONS")
    assert reply.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(("table", "status"), [("", 200), ("another", 503)])
async def test_service_is_ready_if_it_can_read_the_table(
    sharing: Sharing, table: str, status: int
) -> None:
    backend = replace(sharing.backend, table=Table(table)) if table else sharing.backend
    async with sharing.client(backend=backend) as client:
        ready, live = await client.get("/readyz"), await client.get("/healthz")
    state = "ok" if status == 200 else "unavailable"
    assert (ready.status_code, ready.json()["checks"]) == (status, {"tokens": state})
    assert live.status_code == 200
