"""The sharing service: its page and health endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import httpx
import pytest
from gatehouse.features.sharing.table import Table
from gatehouse.platform.observability import Observer
from gatehouse.services.sharing.app import create
from moto import mock_aws


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)  # an ECS task has AWS_REGION only
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with mock_aws():
        key: list[Any] = [{"AttributeName": "id", "KeyType": "HASH"}]
        attribute: list[Any] = [{"AttributeName": "id", "AttributeType": "S"}]
        boto3.client("dynamodb", region_name="eu-west-1").create_table(
            TableName="tokens",
            KeySchema=key,
            AttributeDefinitions=attribute,
            BillingMode="PAY_PER_REQUEST",
        )
        yield "tokens"


async def _client(table: str) -> httpx.AsyncClient:
    observer = Observer("sharing", "error", "test")
    probes = [Table(table)] if table else []
    transport = httpx.ASGITransport(create(probes=probes, observer=observer, https=True))
    return httpx.AsyncClient(transport=transport, base_url="https://share.test")


@pytest.fixture
async def service() -> AsyncIterator[httpx.AsyncClient]:
    async with await _client("") as client:
        yield client


async def test_page_describes_the_service_with_strict_csp(service: httpx.AsyncClient) -> None:
    reply = await service.get("/")
    assert "secret" in reply.text.lower()
    assert reply.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'"
    )
    assert reply.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/s/abc", "/nothing", "/index.html"])
async def test_other_path_is_not_found(service: httpx.AsyncClient, path: str) -> None:
    reply = await service.get(path)
    assert (reply.status_code, "<h1>" in reply.text) == (404, True)


async def test_other_method_is_405(service: httpx.AsyncClient) -> None:
    reply = await service.delete("/")
    assert (reply.status_code, "GET" in reply.headers["allow"], "<h1>" in reply.text) == (
        405,
        True,
        True,
    )


async def test_service_is_ready_when_the_table_is_readable(table: str) -> None:
    async with await _client(table) as client:
        reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()["checks"]) == (200, {"tokens": "ok"})


async def test_service_without_table_is_not_ready(table: str) -> None:
    async with await _client("another") as client:
        reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()["checks"]) == (503, {"tokens": "unavailable"})


async def test_service_is_live_without_its_table(table: str) -> None:
    async with await _client("another") as client:
        replies = await asyncio.gather(client.get("/healthz"), client.get("/readyz"))
    assert [reply.status_code for reply in replies] == [200, 503]
