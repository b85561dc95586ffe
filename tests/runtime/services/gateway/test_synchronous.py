"""Requests without a task have the same effects as those in a task."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Core, Gateway, Key, gateway_pair, limit, serving

_SCRIPT = """
import asyncio
from gatehouse.platform.http.application import Application
from gatehouse.platform.http.exchange import Exchange
begin = Application.begin
async def begin_in_task(*arguments):
    await asyncio.sleep(0)
    await begin(*arguments)
if not {enabled}:
    Application.begin = begin_in_task
respond = Exchange.respond
def recorded(self, response):
    if asyncio.current_task() is None:
        print("response without a task", flush=True)
    respond(self, response)
Exchange.respond = recorded
"""
_PATIENCE_S = 60
_LEASE_S = 300
#: Parts of a response that differ between two requests.
_VARIABLE = (
    (rb"req_[0-9a-f]{26}", b"req"),
    (rb'"trace_id":"[0-9a-f]{32}"', b""),
    (rb"\r\ndate: [^\r]*", b""),
    (rb'"decided_at":"[^"]*"', b""),
    (rb'"(reset_s|remaining|staleness_ms)":[0-9.]+', b""),
    (rb";r=[0-9]+;t=[0-9]+", b""),
    (rb"retry-after: [0-9]+", b""),
)
#: Fields of log lines that differ between two requests.
_VARIABLE_FIELDS = ("request_id", "trace_id", "ms", "ts", "reason")

_PUBLIC = b'Cache-Control: public\r\nETag: "v1"\r\n'
_RESPONSES: dict[str, list[bytes]] = {
    "plain": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "split": [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 5\r\n\r\n", b"he", b"llo"],
    "chunked": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
        b"world\r\n0\r\nX-Trailer: 1\r\n\r\n"
    ],
    "chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"lo\r\n0\r\n\r\n",
    ],
    "inline": [b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65_536],
    "large": [b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n" + b"x" * 65_537],
    "public": [b"HTTP/1.1 200 OK\r\n" + _PUBLIC + b"Content-Length: 6\r\n\r\npublic"],
    "switch": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"],
}


@dataclass
class ScriptedCore(Core):
    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        name = path.split("/")[1]
        if name == "ended":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
            raise ConnectionResetError
        if name not in _RESPONSES:
            await super()._respond(path, head, writer, reader)
            return
        if name == "public" and dict(self.requests[-1][1]).get("if-none-match") == '"v1"':
            writer.write(b"HTTP/1.1 304 Not Modified\r\n" + _PUBLIC + b"\r\n")
            return
        for part in _RESPONSES[name]:
            writer.write(part.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head else part)
            await writer.drain()
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Pair:
    """Two gateways on one database, Redis and Core. The second one answers in tasks."""

    synchronous: Gateway
    application: Gateway
    core: ScriptedCore

    def count(self) -> int:
        return self.synchronous.log.read_text().count("response without a task")

    async def compare(self, raw: bytes) -> None:
        outcomes = []
        for gateway in (self.synchronous, self.application):
            self.core.requests.clear()
            response = await _response(gateway.port, raw)
            outcomes.append((response, [_without_ids(sent) for sent in self.core.requests]))
        assert outcomes[0] == outcomes[1]

    async def effects(self, gateway: Gateway) -> tuple[list[dict[str, Any]], dict[str, float]]:
        reply = await gateway.get("/metrics")
        page = reply.body.decode()
        await gateway.lines_with(request_id=reply.header("x-request-id"))
        lines = [line for line in gateway.lines() if line["event"] == "request"]
        return (
            [
                {name: value for name, value in line.items() if name not in _VARIABLE_FIELDS}
                for line in lines
                if line["path"] not in ("/metrics", "/readyz")
            ],
            {
                name: float(value)
                for name, value in (line.rsplit(" ", 1) for line in page.splitlines())
                if name.startswith("gatehouse_decisions_total{")
            },
        )


@pytest.fixture(scope="module")
async def running(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    core, folder = ScriptedCore(), tmp_path_factory.mktemp("pair")
    bounds = {"GATEHOUSE_KEY_REQUESTS_MAX": "3", "GATEHOUSE_CIRCUIT_BREAKER_FAILURES": "0"}
    async with (
        serving(core.serve) as core.port,
        gateway_pair(database, redis_url, folder, _SCRIPT, **bounds) as gateways,
    ):
        _, reply = await gateways[0].register(core.url, ttl_s=_LEASE_S)
        assert reply.status == 200, reply.body
        yield Pair(*gateways, core)


@pytest.fixture
async def pair(running: Pair) -> Pair:
    key = await running.synchronous.create_key()
    for gateway in (running.synchronous, running.application):
        async with asyncio.timeout(_PATIENCE_S):
            while (await gateway.get("/cores/docs/plain", key.header)).status != 200:
                await asyncio.sleep(0.005)
    running.core.requests.clear()
    return running


@pytest.fixture
async def key(pair: Pair) -> Key:
    key = await pair.synchronous.create_key(limits=[limit(100_000, 60)])
    before = pair.count()
    async with asyncio.timeout(_PATIENCE_S):
        while pair.count() == before:
            reply = await pair.synchronous.request("GET", "/cores/docs/plain", key.header)
            assert reply.status == 200
    return key


async def _response(port: int, raw: bytes) -> bytes:
    """The response to a request with `Connection: close`, decoded and without variable parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(_PATIENCE_S):
        data = await reader.read()
    writer.close()
    head, end, body = data.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head:
        body = re.sub(rb"[0-9a-f]+\r\n(.*?)\r\n", rb"\1", body, flags=re.DOTALL)
        head = head.replace(b"\r\ntransfer-encoding: chunked", b"")
    length = re.search(rb"\r\ncontent-length: ([0-9]+)", head)
    if length is not None and int(length[1]) == len(body):
        head = head.replace(length[0], b"")
    data = head + end + body
    for pattern, replacement in _VARIABLE:
        data = re.sub(pattern, replacement, data)
    return data


_IDS = ("gatehouse-request-id", "traceparent")


def _without_ids(
    sent: tuple[str, list[tuple[str, str]], bytes],
) -> tuple[str, list[tuple[str, str]], bytes]:
    line, headers, body = sent
    return line, [(name, value) for name, value in headers if name not in _IDS], body


def forwarded(
    key: Key,
    target: str,
    *headers: str,
    method: str = "GET",
    body: bytes | None = None,
    version: str = "1.1",
) -> bytes:
    framing = [] if body is None else [f"Content-Length: {len(body)}"]
    lines = (
        f"{method} {target} HTTP/{version}",
        "Host: a",
        "Connection: close",
        key.header,
        *headers,
        *framing,
    )
    return "\r\n".join((*lines, "", "")).encode() + (body or b"")


def post(document: Any) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = (
        "POST /v1/keys/verify HTTP/1.1",
        "Host: a",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body


def get(header: str) -> bytes:
    lines = ("GET /v1/keys/verify HTTP/1.1", "Host: a", "Connection: close", header, "", "")
    return "\r\n".join(lines).encode()


def forwarding_requests(key: Key) -> list[bytes]:
    return [
        *(forwarded(key, f"/cores/docs/{name}") for name in (*_RESPONSES, "ended", "drop", "half")),
        forwarded(key, "/cores/docs/chunked", method="HEAD"),
        *(
            forwarded(key, f"/cores/docs/{name}", method="POST", body=b"order")
            for name in ("plain", "chunked", "drop", "public")
        ),
        forwarded(key, "/cores/docs/plain", method="PUT", body=b"x" * 65_536),
        forwarded(key, "/cores/docs/plain", method="PUT", body=b"x" * 65_537),
        forwarded(key, "/cores/docs/chunked", version="1.0"),
        forwarded(key, "/cores/docs/public", "Accept-Encoding: gzip"),
        forwarded(key, "/cores/docs/public", 'If-None-Match: "v1"'),
        forwarded(key, "/cores/unknown/x"),
    ]


async def verification_requests(pair: Pair) -> list[bytes]:
    create = pair.synchronous.create_key
    valid = (await create()).token
    few = (await create(limits=[limit(1, 3600)])).token
    assert (await pair.application.verify(few)).json["valid"]  # uses up the limit
    tokens = (valid, few, valid[:-1] + ("a" if valid[-1] != "a" else "b"))
    return [
        *(post({"token": token}) for token in tokens),
        *(get(f"X-API-Key: {token}") for token in tokens),
        get(f"Authorization: Bearer {valid}"),
        post({"token": valid, "cost": 3, "core": "docs", "address": "192.0.2.7", "method": "GET"}),
        post(json.dumps({"token": valid}).encode() + b" " * 70_000),
    ]


@pytest.mark.requirement("CG-03", "CG-04", "CG-12")
@pytest.mark.parametrize("kind", ["forwarding", "verification"])
async def test_responses_and_effects_equal_those_of_the_application(
    pair: Pair, key: Key, kind: str
) -> None:
    corpus = forwarding_requests(key) if kind == "forwarding" else await verification_requests(pair)
    before, gateways = pair.count(), (pair.synchronous, pair.application)
    earlier = [await pair.effects(gateway) for gateway in gateways]
    for raw in corpus:
        for _ in range(3):  # the first response may be stored
            await pair.compare(raw)
    assert pair.count() > before + len(corpus)
    effects = [await pair.effects(gateway) for gateway in gateways]
    lines = [later[len(first) :] for (first, _), (later, _) in zip(earlier, effects, strict=True)]
    assert lines[0] == lines[1]
    assert len(lines[0]) >= 2 * len(corpus)
    counts = [
        {code: number - first[code] for code, number in later.items()}
        for (_, first), (_, later) in zip(earlier, effects, strict=True)
    ]
    assert counts[0] == counts[1]
    assert "failure" not in pair.synchronous.log.read_text()
