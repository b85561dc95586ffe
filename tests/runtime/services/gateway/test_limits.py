"""Limits of connections and heads, which Envoy enforces."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Gateway, read_reply, serving

GATEWAY_SETTINGS = {
    "GATEHOUSE_CONNECTIONS_MAX": "16",
    "GATEHOUSE_STREAMS_MAX": "16",
    "GATEHOUSE_LOAD_BALANCER_IDLE_TIMEOUT_S": "2",
}


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_further_connections_are_closed(gateway: Gateway) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    async with AsyncExitStack() as stack:
        readers = [
            (await stack.enter_async_context(gateway.connection(head)))[0] for _ in range(20)
        ]
        served = 0
        for reader in readers:
            with suppress(asyncio.IncompleteReadError, ConnectionResetError):
                served += (await read_reply(reader)).status == 200
        assert served == 16


async def test_idle_connection_is_closed(gateway: Gateway) -> None:
    async with gateway.connection() as (reader, _):
        assert await is_closed(reader)


async def test_large_head_is_431(gateway: Gateway) -> None:
    fields = [f"X-{number}: {'a' * 8_000}" for number in range(10)]
    reply = await gateway.get("/v1/keys/verify", *fields)
    assert reply.outcome == (431, "headers_too_large")


async def test_long_target_is_414(gateway: Gateway, docs: Any) -> None:
    key = await gateway.create_key()
    reply = await gateway.get("/cores/docs/" + "a" * 20_000, key.bearer)
    assert reply.outcome == (414, "target_too_long")


async def test_client_that_does_not_read_is_disconnected(gateway: Gateway) -> None:
    size = 50_000_000

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    async with (
        serving(respond) as port,
        gateway.core(f"http://127.0.0.1:{port}", response_timeout_s=5) as key,
    ):
        head = f"GET /cores/docs/x HTTP/1.1\r\nHost: a\r\n{key.header}\r\n\r\n".encode()
        async with gateway.connection(head) as (reader, _):
            await gateway.lines_with(key_id=key.id, path="/cores/docs/x", status=200)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(size)
