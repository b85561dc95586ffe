"""Limits of connections and heads, which Envoy enforces."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from gatehouse.services.gateway.completions import PATH

from tests.runtime.services.gateway.conftest import LARGE, Gateway, Key, large_core, read_reply

GATEWAY_SETTINGS = {"GATEHOUSE_LOAD_BALANCER_IDLE_TIMEOUT_S": "2"}


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_further_connections_are_closed(another: Any) -> None:
    # None is idle for too long, and none is of another test.
    client = another(GATEHOUSE_CONNECTIONS_MAX="16", GATEHOUSE_STREAMS_MAX="16")
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    async with AsyncExitStack() as stack:
        readers = [(await stack.enter_async_context(client.connection(head)))[0] for _ in range(20)]
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


async def failures(gateway: Gateway, key: Key) -> list[Any]:
    """The requests with a key that were logged as failures of a Core."""
    lines = await gateway.lines_with(key_id=key.id, route=PATH)
    return [line["detail"] for line in lines if line.get("detail")]


async def test_client_that_does_not_read_is_disconnected(gateway: Gateway) -> None:
    async with large_core(gateway) as key:
        head = f"GET /cores/docs/x HTTP/1.1\r\nHost: a\r\n{key.header}\r\n\r\n".encode()
        async with gateway.connection(head) as (reader, _):
            assert await failures(gateway, key) == []
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(LARGE)


async def test_client_that_does_not_send_is_disconnected(gateway: Gateway) -> None:
    async with large_core(gateway) as key:
        lines = ("PUT /cores/docs/silent HTTP/1.1", "Host: a", key.header, "Content-Length: 9")
        async with gateway.connection("\r\n".join((*lines, "", "")).encode()) as (reader, writer):
            for _ in range(2):
                writer.write(b"a")
                assert (await gateway.get("/cores/docs/silent", key.header)).status == 504
            assert (await read_reply(reader)).outcome == (408, "request_timeout")
        other = [each for each in await failures(gateway, key) if "per_try" not in each]
        assert other == []
