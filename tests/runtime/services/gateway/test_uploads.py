"""Responses to requests with a large body that the client is still sending."""

import asyncio
import http.client
from collections.abc import Iterator
from typing import Any

import pytest
from gatehouse.services.gateway import uploads

from tests.runtime.services.gateway.conftest import Core, Gateway, Key, read_reply, serving

SIZE = 32 << 20


def upload(port: int, key: str, *, chunked: bool, method: str = "PUT") -> tuple[int, Any]:
    """The response to a client that first sends the whole body, and the status of a request after
    it.
    """

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
    assert (length > 0) is (status != 204)
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
        (f"Content-Length: {uploads.BYTES_MAX + 1}", 0),
        ("Transfer-Encoding: chunked", uploads.BYTES_MAX // (1 << 20) + 1),
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


#: Responses before the body: with a length, in chunks, without a body, and larger than what Envoy
#: keeps of a response.
EARLY = (
    b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
    b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 200000\r\n\r\n" + b"a" * 200_000,
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"a" * 1_000_000,
    b"HTTP/1.1 204 No Content\r\n\r\n",
)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("response", EARLY, ids=lambda each: each[9:12].decode())
async def test_early_response_of_a_core_reaches_the_client(
    gateway: Gateway, response: bytes, chunked: bool
) -> None:
    """The Core discards the body, as nginx does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.write_eof()
        while await reader.read(1 << 16):
            pass
        writer.close()

    async with serving(serve) as port, gateway.core(f"http://127.0.0.1:{port}") as key:
        status = int(response[9:12])
        sent = asyncio.to_thread(upload, gateway.port, key.token, chunked=chunked)
        assert await sent == (status, status)


async def test_response_and_body_are_sent_at_the_same_time(gateway: Gateway) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (part := await reader.readline()) not in (b"0\r\n", b""):
            writer.write(part + await reader.readexactly(int(part, 16) + 2))
        writer.write(b"0\r\n\r\n")

    async with serving(serve) as port, gateway.core(f"http://127.0.0.1:{port}") as key:
        lines = ("POST /cores/docs/x HTTP/1.1", "Host: g", key.header)
        head = "\r\n".join((*lines, "Transfer-Encoding: chunked", "", "")).encode()
        async with gateway.connection(head) as (reader, writer):
            await reader_of_head(reader, writer)
            for _ in range(3):
                writer.write(b"4\r\necho\r\n")
                assert await reader.readexactly(9) == b"4\r\necho\r\n"
            writer.write(b"0\r\n\r\n")
            assert await reader.readexactly(5) == b"0\r\n\r\n"


async def reader_of_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"1\r\na\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(6) == b"1\r\na\r\n"


async def test_upload_is_forwarded_whole_and_does_not_end_with_its_key(gateway: Gateway) -> None:
    body, begun, received = bytes(range(256)) * 1000, asyncio.Event(), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        received.append(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(serve) as port, gateway.core(f"http://127.0.0.1:{port}") as key:
        length = f"Content-Length: {len(body)}"
        lines = ("POST /cores/docs/x HTTP/1.1", "Host: g", key.header, length, "", "")
        async with gateway.connection("\r\n".join(lines).encode()) as (reader, writer):
            writer.write(body[:-1])
            await begun.wait()
            await gateway.revoke(key)
            writer.write(body[-1:])
            assert (await read_reply(reader)).status == 200
    assert received == [body]
