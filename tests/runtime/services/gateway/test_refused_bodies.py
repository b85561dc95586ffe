"""Large bodies of requests that are denied."""

import asyncio
import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from gatehouse.services.gateway import refusals

from tests.runtime.services.gateway.conftest import Core, Gateway, Key

SIZE = 32 << 20


def upload(port: int, key: str, *, chunked: bool, method: str = "PUT") -> tuple[int, Any]:
    """The response to a client that first sends the whole body."""

    def parts() -> Iterator[bytes]:
        for _ in range(SIZE >> 16):
            yield bytes(1 << 16)

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"X-API-Key": key}
    body: Any = parts() if chunked else bytes(SIZE)
    connection.request(method, "/cores/docs/x", body, headers, encode_chunked=chunked)
    response = connection.getresponse()
    status, length = response.status, len(response.read())
    connection.request("GET", "/cores/docs/x", headers={"X-API-Key": key})
    next_status = connection.getresponse().status
    connection.close()
    assert length > 0
    return status, next_status


@pytest.mark.parametrize("chunked", [False, True])
async def test_client_that_sends_the_body_first_receives_the_denial(
    gateway: Gateway, docs: Key, core: Core, chunked: bool
) -> None:
    other = await gateway.create_key(scopes=[])
    for method in ("PUT", "POST"):
        for token, status in (("wrong", 401), (other.token, 403)):
            sent = asyncio.to_thread(upload, gateway.port, token, chunked=chunked, method=method)
            assert await sent == (status, status)
    assert core.requests == []


async def test_client_that_sends_a_too_large_body_first_receives_413(
    gateway: Gateway, core: Core
) -> None:
    async with gateway.core(core.url, body_max_bytes=100_000) as key:
        sent = asyncio.to_thread(upload, gateway.port, key.token, chunked=False)
        assert await sent == (413, 200)


async def test_denial_of_a_body_in_progress_is_logged_once(gateway: Gateway, docs: Key) -> None:
    key = await gateway.create_key(scopes=[])
    reply = await gateway.request("PUT", "/cores/docs/x", key.header, body=bytes(100_000))
    assert reply.outcome == (403, "INSUFFICIENT_PERMISSIONS")
    request_id = reply.header("x-request-id")
    (line,) = await gateway.lines_with(request_id=request_id)
    assert (line["status"], line["key_id"]) == (403, key.id)


async def test_rest_of_a_very_large_body_is_not_read(gateway: Gateway, docs: Key) -> None:
    lines = ("PUT /cores/docs/x HTTP/1.1", "Host: g", "X-API-Key: wrong")
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    for framing, number in (
        (f"Content-Length: {refusals.BYTES_MAX + 1}", 0),
        ("Transfer-Encoding: chunked", refusals.BYTES_MAX // (1 << 20) + 1),
    ):
        head = "\r\n".join((*lines, framing, "", "")).encode()
        async with gateway.connection(head) as (reader, writer):
            for _ in range(number):
                writer.write(chunk)
                await writer.drain()
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")


async def test_client_cannot_send_a_response(gateway: Gateway, core: Core, docs: Key) -> None:
    key = await gateway.create_key()
    forged = ("X-GH-Refusal: SFRUUC8xLjEgMjAwIE9L", "X-GH-Cluster: refusal", "X-GH-Class: 10u")
    assert (await gateway.get("/cores/docs/x", key.header, *forged)).body == b"hello"
    assert "refusal" not in str(core.requests)
