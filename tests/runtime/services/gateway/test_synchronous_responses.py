"""Synchronous responses are identical to the responses from the application, except for times,
counters and IDs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Gateway, gateway_pair

_RECORD = """
from gatehouse.services.gateway.synchronous import SynchronousVerification
def recorded(verify):
    def respond(self, *arguments):
        response = verify(self, *arguments) if {enabled} else None
        if response is not None:
            print("synchronous", type(response).__name__, response.status, flush=True)
        return response
    return respond
for name in ("_verify_body", "_verify_header"):
    setattr(SynchronousVerification, name, recorded(getattr(SynchronousVerification, name)))
"""
_PATIENCE_S = 60
_VARIABLE = (
    (rb"req_[0-9a-f]{26}", b"req"),
    (rb'"trace_id":"[0-9a-f]{32}"', b""),
    (rb"\r\ndate: [^\r]*", b""),
    (rb'"decided_at":"[^"]*"', b""),
    (rb'"(reset_s|remaining|staleness_ms)":[0-9.]+', b""),
    (rb";r=[0-9]+;t=[0-9]+", b""),
    (rb"\r\ncontent-length: [1-9][0-9]*", b""),
)
"""Parts of a response that differ between two requests."""


@dataclass(frozen=True)
class Pair:
    """Two gateways with the same database and Redis: one responds synchronously where possible, and
    the other never does.
    """

    synchronous: Gateway
    application: Gateway

    async def responses(self, raw: bytes) -> list[bytes]:
        return [
            await _response(gateway.port, raw) for gateway in (self.synchronous, self.application)
        ]

    @property
    def synchronous_responses(self) -> int:
        return self.synchronous.log.read_text().count("synchronous ")

    @property
    def template_responses(self) -> int:
        return self.synchronous.log.read_text().count("synchronous EncodedResponse")


async def _response(port: int, raw: bytes) -> bytes:
    """The response to a request with `Connection: close`, without its variable parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(_PATIENCE_S):
        writer.write(raw)
        data = await reader.read()
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: %d" % len(body) in head or raw.startswith(b"HEAD")
    for pattern, replacement in _VARIABLE:
        data = re.sub(pattern, replacement, data)
    return data


@pytest.fixture(scope="module")
async def pair(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    async with gateway_pair(
        database, redis_url, tmp_path_factory.mktemp("pair"), _RECORD
    ) as gateways:
        yield Pair(*gateways)


def post(document: Any, *headers: str) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = (
        "POST /v1/keys/verify HTTP/1.1",
        "Host: a",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *headers,
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body


def get(*headers: str, query: str = "", method: str = "GET") -> bytes:
    return "\r\n".join(
        (
            f"{method} /v1/keys/verify{query} HTTP/1.1",
            "Host: a",
            "Connection: close",
            *headers,
            "",
            "",
        )
    ).encode()


@pytest.mark.requirement("CG-03")
async def test_synchronous_responses_equal_those_of_the_application(pair: Pair) -> None:
    create = pair.synchronous.create_key
    valid = (await create()).token
    unnamed = (await create(limits=[], name="", owner="")).token
    two = (
        await create(
            limits=[
                {"name": n, "quota": 10_000, "window_s": 60, "burst": 10_000} for n in ("a", "b")
            ]
        )
    ).token
    denied = [
        (await create(state="disabled")).token,
        (await create(state="revoked", revoked_at=datetime(2030, 1, 1, tzinfo=UTC))).token,
        (await create(expires_at=datetime(2020, 1, 1, tzinfo=UTC))).token,
        (await create(environment="live")).token,
        (await create(addresses=["192.0.2.0/24"])).token,
        (await create(limits=[{"name": "few", "quota": 1, "window_s": 3600, "burst": 1}])).token,
        valid[:-1] + ("a" if valid[-1] != "a" else "b"),
    ]
    assert (await pair.application.verify(denied[5])).json["valid"]  # uses up the limit
    corpus = [
        *(post({"token": token}) for token in (valid, unnamed, two, *denied)),
        *(get(f"X-API-Key: {token}") for token in (valid, unnamed, two, *denied)),
        get(f"Authorization: Bearer {valid}"),
        get(f"Authorization: Bearer {valid}", query="?scope=cores:read&core=docs&method=GET"),
        get(f"Authorization: Bearer {valid}", query="?scope=cores:write"),
        get(f"Authorization: Bearer {valid}", query="?unknown=1"),
        get(f"Authorization: Bearer {valid}", f"X-API-Key: {valid}"),
        get(f"Authorization: Bearer {valid}", f"X-API-Key: {two}"),
        get(f"X-API-Key: {valid}", method="HEAD"),
        get(f"X-API-Key: {valid}", method="OPTIONS"),
        get(f"X-API-Key: {valid}", method="DELETE"),
        get(),
        post({"token": valid, "cost": 0}),
        post({"token": valid, "cost": 3, "core": "docs", "address": "192.0.2.7", "method": "GET"}),
        post({"token": valid, "limits": [{"name": "unknown"}]}),
        post({"token": valid, "limits": [{"name": "more", "quota": 5000, "window_s": 60}]}),
        post({"token": valid, "address": "nonsense"}),
        post({"token": valid, "unknown": 1}),
        post({"token": 1}),
        post(b"{"),
        post(b""),
        post({"token": valid}, "Content-Type: application/json"),
        post({"token": valid}, "Content-Type: text/plain"),
        post({"token": valid}, "X-Forwarded-For: 192.0.2.9"),
        post({"token": valid, "scopes": ["x" * 65]}),
        post(json.dumps({"token": valid}).encode() + b" " * 70_000),
    ]
    before = pair.synchronous_responses
    for raw in corpus:
        for _ in range(3):
            synchronous, application = await pair.responses(raw)
            assert synchronous == application
    # Denials by a check without a counter never wait.
    assert pair.synchronous_responses >= before + 3 * len(denied[:5])


@pytest.mark.requirement("CG-03")
@pytest.mark.parametrize("limits", [1, 2, 3])
async def test_responses_from_templates_equal_those_of_the_application(
    pair: Pair, limits: int
) -> None:
    names = ("requests", "per day", "100 %s")[:limits]
    odd = await pair.synchronous.create_key(
        name='100 %s "quoted" Größe \\ 1970-01-01T00:00:00.000Z req_0',
        owner="%d%%",
        expires_at=datetime(2190, 1, 1, tzinfo=UTC),
        limits=[
            {"name": name, "quota": 10_000, "window_s": 60, "burst": 10_000, "cost": cost}
            for cost, name in enumerate(names, 1)
        ],
    )
    requests = (
        post({"token": odd.token}),
        post({"token": odd.token, "cost": 1, "scopes": ["cores:read"], "core": "docs"}),
        get(f"X-API-Key: {odd.token}"),
        get(f"Authorization: bearer  {odd.token} ", query="?scope=cores:read"),
    )
    async with asyncio.timeout(_PATIENCE_S):
        for raw in requests:
            before = pair.template_responses
            while pair.template_responses < before + 5:
                synchronous, application = await pair.responses(raw)
                assert synchronous == application
                assert synchronous.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.requirement("CG-04")
async def test_synchronous_responses_are_logged_and_counted(pair: Pair) -> None:
    gateway, before = pair.synchronous, pair.synchronous_responses
    counted = await gateway.metric('gatehouse_decisions_total{code="DISABLED"}')
    key = await gateway.create_key(state="disabled")
    for _ in range(4):
        assert (await gateway.verify(key.token)).json["code"] == "DISABLED"
    # All but the first, which reads the key from the database.
    assert pair.synchronous_responses >= before + 3
    async with asyncio.timeout(_PATIENCE_S):
        while (
            len(
                await gateway.lines_with(
                    code="DISABLED", key_id=key.id, route="/v1/keys/verify", status=200
                )
            )
            < 4
        ):
            await asyncio.sleep(0.005)
    assert await gateway.metric('gatehouse_decisions_total{code="DISABLED"}') == counted + 4
