"""Requests that are forwarded without a task have the same effects as requests that the application
forwards.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from gatehouse.platform.tracing.context import trace_id_of

from tests.runtime.services.gateway.conftest import (
    Core,
    Gateway,
    Key,
    Reply,
    gateway_pair,
    read_reply,
)

_RECORD = """
from gatehouse.services.gateway.synchronous_forwarding import SynchronousForwarding, _Exchange
prepare, respond = SynchronousForwarding.prepare, _Exchange._respond
SynchronousForwarding.prepare = lambda self, scope: prepare(self, scope) if {enabled} else None
def recorded(self, status, *arguments):
    responded = respond(self, status, *arguments)
    print("synchronous", status if responded else "continued", flush=True)
    return responded
_Exchange._respond = recorded
"""
_PATIENCE_S = 60
_LEASE_S = 300
_DECISIONS = 'gatehouse_decisions_total{code="%s"}'
_VARIABLE = (
    (rb"req_[0-9a-f]{26}", b"req"),
    (rb'"trace_id":"[0-9a-f]{32}"', b""),
    (rb"\r\ndate: [^\r]*", b""),
    (rb";r=[0-9]+;t=[0-9]+", b""),
    (rb"\r\n(connection: close|transfer-encoding: chunked)(?=\r\n)", b""),
)
"""Parts of a response that differ between two requests. The order of the last two headers
differs.
"""

_PUBLIC = b'Cache-Control: public\r\nETag: "v1"\r\n'
_RESPONSES: dict[str, list[bytes]] = {
    "plain": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
    "empty": [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    "split": [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 5\r\n\r\n", b"he", b"llo"],
    "chunked": [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
            b"world\r\n0\r\nX-Trailer: 1\r\n\r\n"
        )
    ],
    "chunks": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"lo\r\n0\r\n\r\n",
    ],
    "no-chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    "early-hints": [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    ],
    "no-content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "not-modified": [b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\nContent-Length: 5\r\n\r\n'],
    "closing": [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"],
    "two": [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: "
            b"0\r\n\r\n"
        )
    ],
    "inline": [b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65_536],
    "large": [b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n" + b"x" * 65_537],
    "public": [b"HTTP/1.1 200 OK\r\n" + _PUBLIC + b"Content-Length: 6\r\n\r\npublic"],
    "many": [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 201 + b"Content-Length: 0\r\n\r\n"],
    "switch": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"],
    "unknown-status": [b"HTTP/1.1 299 Fine\r\nContent-Length: 2\r\n\r\nok"],
    "problem": [b"HTTP/1.1 500 Error\r\nContent-Length: 3\r\n\r\nbad"],
    "headers": [
        b"HTTP/1.1 200 OK\r\nX-Kept: 1\r\nX-Hop: 1\r\nConnection: X-Hop\r\nSet-Cookie: "
        b"a=1\r\nSet-Cookie: b=1; Domain=x\r\n"
        b"X-Request-Id: forged\r\nRateLimit: forged\r\nX-Bad: caf\xe9\r\nContent-Length: 0\r\n\r\n"
    ],
}


@dataclass
class ScriptedCore(Core):
    """Responds to a path with the name of an entry of `_RESPONSES`. `wait` responds when `resume`
    is set.
    """

    connections: int = 0
    waiting: int = 0
    at: asyncio.Condition = field(default_factory=asyncio.Condition)

    def reset(self) -> None:
        self.requests.clear()
        self.disconnected.clear()
        self.resume.clear()
        self.waiting = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await super().serve(reader, writer)

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        name = path.split("/")[1]
        if name == "wait":
            async with self.at:
                self.waiting += 1
                self.at.notify_all()
            await self.resume.wait()
            name = "plain"
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

    async def wait_for(self, number: int) -> None:
        """Waits until this number of requests wait for `resume`."""
        async with asyncio.timeout(_PATIENCE_S), self.at:
            await self.at.wait_for(lambda: self.waiting >= number)


@dataclass(frozen=True)
class Pair:
    """Two gateways with the same database, Redis and Core: the second one forwards all requests in
    the application.
    """

    synchronous: Gateway
    application: Gateway
    core: ScriptedCore

    @property
    def responses(self) -> int:
        """Number of responses without a task."""
        return len(re.findall(r"synchronous \d", self.synchronous.log.read_text()))

    async def reached(self, gateway: Gateway, key: Key, name: str = "docs") -> None:
        """Waits until a gateway forwards requests to the Core."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                self.core.requests.clear()
                reply = await gateway.request(
                    "GET", f"/cores/{name}/plain", f"X-API-Key: {key.token}"
                )
                if reply.status == 200 and self.core.requests:
                    return
                await asyncio.sleep(0.005)

    async def warm_up(self, key: Key) -> None:
        """Repeats a request until the gateway has everything that it needs to respond
        synchronously.
        """
        before = self.responses
        async with asyncio.timeout(_PATIENCE_S):
            while self.responses == before:
                assert (
                    await self.synchronous.request(
                        "GET", "/cores/docs/plain", f"X-API-Key: {key.token}"
                    )
                ).status == 200


@pytest.fixture(scope="module")
async def running(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    core = ScriptedCore()
    server = await asyncio.start_server(core.serve, "127.0.0.1", 0)
    core.port = server.sockets[0].getsockname()[1]
    bounds = {"GATEHOUSE_KEY_REQUESTS_MAX": "3", "GATEHOUSE_CIRCUIT_BREAKER_FAILURES": "0"}
    async with gateway_pair(
        database, redis_url, tmp_path_factory.mktemp("pair"), _RECORD, **bounds
    ) as gateways:
        _, reply = await gateways[0].register(core.url, ttl_s=_LEASE_S)
        assert reply.status == 200, reply.body
        yield Pair(*gateways, core)
    server.close()


@pytest.fixture
async def pair(running: Pair) -> Pair:
    """The gateways, both of which forward requests to the Core, and the Core without recorded
    requests.
    """
    key = await running.synchronous.create_key()
    for gateway in (running.synchronous, running.application):
        await running.reached(gateway, key)
    running.core.reset()
    return running


@pytest.fixture
async def key(pair: Pair) -> Key:
    key = await pair.synchronous.create_key(
        limits=[{"name": "requests", "quota": 100_000, "window_s": 60, "burst": 100_000}],
        owner="team-a",
    )
    await pair.warm_up(key)
    return key


async def raw_response(port: int, raw: bytes) -> bytes:
    """The response to a request with `Connection: close`, without its variable parts and with a
    decoded body.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(_PATIENCE_S):
        data = await reader.read()
    writer.close()
    head, end, body = data.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head:
        assert body.endswith(b"0\r\n\r\n") or b"0\r\n\r\n" not in body
        body = re.sub(rb"[0-9a-f]+\r\n(.*?)\r\n", rb"\1", body, flags=re.DOTALL)
    data = head + b"\r\n" + end + body
    for pattern, replacement in _VARIABLE:
        data = re.sub(pattern, replacement, data)
    return data


def request(
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
        f"X-API-Key: {key.token}",
        *headers,
        *framing,
    )
    return "\r\n".join((*lines, "", "")).encode() + (body or b"")


async def body(reader: asyncio.StreamReader) -> bytes:
    """The body of the next response."""
    reply = await read_reply(reader)
    if reply.header("transfer-encoding"):
        assert await reader.readexactly(2) == b"\r\n"
    return reply.body


_IDS = ("gatehouse-request-id", "traceparent")


def without_id(
    sent: tuple[str, list[tuple[str, str]], bytes],
) -> tuple[str, list[tuple[str, str]], bytes]:
    line, headers, body = sent
    return line, [(name, value) for name, value in headers if name not in _IDS], body


@pytest.mark.requirement("CG-04", "CG-12")
async def test_forwarded_requests_and_responses_equal_those_of_the_application(
    pair: Pair, key: Key
) -> None:
    corpus = [
        *(request(key, f"/cores/docs/{name}") for name in (*_RESPONSES, "ended", "drop", "half")),
        *(
            request(key, f"/cores/docs/{name}", method="HEAD")
            for name in ("plain", "chunked", "not-modified", "no-content")
        ),
        *(
            request(key, f"/cores/docs/{name}", method="POST", body=b"order")
            for name in ("plain", "chunked", "drop", "public")
        ),
        request(key, "/cores/docs/plain", method="POST", body=b""),
        request(key, "/cores/docs/plain", method="PUT", body=b"x" * 65_536),
        request(key, "/cores/docs/plain", method="PUT", body=b"x" * 65_537),
        request(key, "/cores/docs/chunked", version="1.0"),
        request(key, "/cores/docs/plain", version="1.0"),
        request(
            key,
            "/cores/docs/plain?a=b&c=%20",
            "Accept: text/html",
            "User-Agent: test",
            "X-Kept: yes",
            "X-Forwarded-For: 6.6.6.6",
        ),
        request(
            key,
            "/cores/docs/plain",
            "Connection: X-Hop",
            "X-Hop: 1",
            "Cookie: __Host-gatehouse=s; a=1",
            "Gatehouse-Key-Id: x",
        ),
        request(key, "/cores/docs/public", "Accept-Encoding: gzip"),
        request(key, "/cores/docs/public", 'If-None-Match: "v1"'),
        request(key, "/cores/docs/plain?a b"),
        request(key, "/cores/docs/../x"),
        request(key, "/cores/unknown/x"),
        request(key, "/cores/docs/plain", method="TRACE"),
        request(key, "/cores/docs/plain", "Upgrade: h2c"),
        request(key, "/cores/docs/plain", "Authorization: Bearer second"),
        request(key, "/cores/docs"),
        *(
            request(key, target)
            for target in (
                "/cores/docs/plain?a?b",
                "/cores/docs/plain?",
                "/cores/docs/%zz",
                "/cores/docs/%2e%2e/x",
                "/cores/docs/{x}",
                "/cores/docs/plain#x",
                f"/cores/docs/{'x' * 9_000}",
                f"/cores/docs/{'x' * 17_000}",
            )
        ),
        *(request(key, "/cores/docs/plain", method=method) for method in ("PURGE", "FOO", "get")),
    ]
    core, before = pair.core, pair.responses
    for raw in corpus:
        for _ in range(3):  # the first response may be stored
            outcomes = []
            for gateway in (pair.synchronous, pair.application):
                core.requests.clear()
                response = await raw_response(gateway.port, raw)
                outcomes.append((response, [without_id(sent) for sent in core.requests]))
            assert outcomes[0] == outcomes[1]
    assert pair.responses > before + len(corpus)
    assert "failure" not in pair.synchronous.log.read_text()


@pytest.mark.requirement("CG-04")
async def test_requests_on_a_connection_are_answered_in_order(pair: Pair, key: Key) -> None:
    """Repeated, different and pipelined requests; the second of two pipelined requests waits for
    the response to the first.
    """
    before = pair.responses
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.synchronous.port)
    keep = f"X-API-Key: {key.token}\r\nHost: a\r\n\r\n"

    async def bodies(*names: str) -> list[bytes]:
        writer.write(
            "".join(f"GET /cores/docs/{name} HTTP/1.1\r\n{keep}" for name in names).encode()
        )
        return [await body(reader) for _ in names]

    for _ in range(4):
        assert await bodies("plain") == [b"hello"]
    assert await bodies("chunked") == [b"hello world"]
    assert await bodies("plain", "chunked", "plain", "large") == [
        b"hello",
        b"hello world",
        b"hello",
        b"x" * 65_537,
    ]
    pair.core.resume.set()
    assert await bodies("wait", "plain", "slow") == [b"hello", b"hello", b"firstsecond"]
    for _ in range(3):
        assert await bodies("plain") == [b"hello"]
    writer.close()
    assert pair.responses >= before + 8


@pytest.mark.requirement("CG-04", "CG-12")
async def test_client_that_disconnects_cancels_the_request(pair: Pair, key: Key) -> None:
    connections = []
    for number in range(3):  # as many as the key may have in progress
        _, writer = await asyncio.open_connection("127.0.0.1", pair.synchronous.port)
        writer.write(request(key, "/cores/docs/silent"))
        connections.append(writer)
        async with asyncio.timeout(_PATIENCE_S):
            while (
                sum(line.startswith("GET /silent") for line, _, _ in pair.core.requests) <= number
            ):
                await asyncio.sleep(0.005)
    assert (
        await pair.synchronous.request("GET", "/cores/docs/plain", f"X-API-Key: {key.token}")
    ).status == 429
    for writer in connections:
        writer.close()
    async with asyncio.timeout(_PATIENCE_S):
        await pair.core.disconnected.wait()
        while (
            len(
                await pair.synchronous.lines_with(
                    status=499, detail="client disconnected", key_id=key.id
                )
            )
            < 3
        ):
            await asyncio.sleep(0.005)
    for _ in range(5):
        assert (
            await pair.synchronous.request("GET", "/cores/docs/plain", f"X-API-Key: {key.token}")
        ).status == 200


@pytest.mark.requirement("CG-06", "CG-07")
async def test_denied_requests_are_counted_once_and_never_reach_the_core(
    pair: Pair, key: Key
) -> None:
    before = {
        code: await pair.synchronous.metric(_DECISIONS % code)
        for code in ("FORBIDDEN", "RATE_LIMITED")
    }
    few = await pair.synchronous.create_key(
        limits=[{"name": "few", "quota": 5, "window_s": 3600, "burst": 5}]
    )
    pair.core.requests.clear()
    statuses = [
        (
            await pair.synchronous.request("GET", "/cores/docs/plain", f"X-API-Key: {few.token}")
        ).status
        for _ in range(7)
    ]
    assert statuses == [200] * 5 + [429] * 2
    assert len(pair.core.requests) == 5
    narrow = await pair.synchronous.create_key(cores=["wiki"])
    for _ in range(3):
        reply = await pair.synchronous.request(
            "GET", "/cores/docs/plain", f"X-API-Key: {narrow.token}"
        )
        assert (reply.status, reply.json["code"]) == (403, "FORBIDDEN")
    assert await pair.synchronous.metric(_DECISIONS % "FORBIDDEN") == before["FORBIDDEN"] + 3
    assert await pair.synchronous.metric(_DECISIONS % "RATE_LIMITED") == before["RATE_LIMITED"] + 2
    await pair.synchronous.revoke(key)
    reply = await pair.synchronous.request("GET", "/cores/docs/plain", f"X-API-Key: {key.token}")
    assert (reply.status, reply.json["code"]) == (401, "NOT_FOUND")
    assert len(pair.core.requests) == 5


@pytest.mark.requirement("CG-10", "CG-12")
async def test_forwarded_requests_are_logged_and_counted(pair: Pair, key: Key) -> None:
    gateway, before = pair.synchronous, pair.responses
    valid = await gateway.metric(_DECISIONS % "VALID")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    replies: list[Reply] = []
    for _ in range(6):
        writer.write(
            (
                f"GET /cores/docs/plain?secret=1 HTTP/1.1\r\nX-API-Key: {key.token}\r\nHost: "
                f"a\r\n\r\n"
            ).encode()
        )
        replies.append(await read_reply(reader))
    writer.close()
    assert pair.responses >= before + 5
    for reply in replies:
        (line,) = await gateway.lines_with(request_id=reply.header("x-request-id"))
        assert {**line, "ms": 0, "ts": ""} == {
            "environment": "dev",
            "event": "request",
            "level": "info",
            "request_id": reply.header("x-request-id"),
            "trace_id": trace_id_of(reply.header("x-request-id") or ""),
            "service": "gateway",
            "method": "GET",
            "route": "/cores/{name}/{path}",
            "path": "/cores/docs/plain",
            "status": 200,
            "key_id": key.id,
            "code": "VALID",
            "ms": 0,
            "ts": "",
        }
    assert await gateway.metric(_DECISIONS % "VALID") == valid + 6


@pytest.mark.requirement("CG-12")
async def test_gateway_that_stops_completes_forwarded_requests(
    pair: Pair, key: Key, start: Any, database: Any, redis_url: str
) -> None:
    child, port, _ = start(
        database.app_url, redis_url, GATEHOUSE_DRAIN_S="0", GATEHOUSE_STOP_TIMEOUT_S="20"
    )
    client = pair.synchronous.on_port(port)
    for _ in range(5):
        assert (
            await client.request("GET", "/cores/docs/plain", f"X-API-Key: {key.token}")
        ).status == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET /cores/docs/wait HTTP/1.1\r\nX-API-Key: {key.token}\r\nHost: a\r\n\r\n".encode()
    )
    await pair.core.wait_for(1)
    child.process.terminate()
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                _, probe = await asyncio.open_connection("127.0.0.1", port)
            except (ConnectionRefusedError, ConnectionResetError):
                break
            probe.close()
            await asyncio.sleep(0.005)
    pair.core.resume.set()
    reply = await read_reply(reader)
    assert (reply.status, reply.body, reply.header("connection")) == (200, b"hello", "close")
    assert await reader.read() == b""
    assert await asyncio.to_thread(child.process.wait, _PATIENCE_S) == 0
