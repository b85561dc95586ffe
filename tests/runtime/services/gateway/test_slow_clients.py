"""Clients that send or read slowly do not affect other clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.runtime.services.gateway.conftest import Core, Gateway, Key

SLOW = 40  # of each kind, below the limits of an address, a key and a Core


@asynccontextmanager
async def slow_clients(gateway: Gateway, data: bytes, number: int) -> AsyncIterator[None]:
    """Clients that send this data, send nothing more and do not read."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
            await asyncio.get_running_loop().sock_sendall(sock, data)
        yield
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.requirement("TR-15")
@pytest.mark.usefixtures("docs")
async def test_slow_readers_and_writers_harm_nobody(gateway: Gateway, core: Core) -> None:
    slow, key = await gateway.create_key(), await gateway.create_key()
    head = b"POST /v1/keys/verify HTTP/1.1\r\nHost: gateway.test\r\nContent-Le"
    body = (
        b"POST /cores/docs/upload HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: "
        b"1000000\r\nX-API-Key: %s\r\n\r\nx"
    )
    read = b"GET /cores/docs/big HTTP/1.1\r\nHost: gateway.test\r\nX-API-Key: %s\r\n\r\n"
    token = slow.token.encode()
    async with slow_clients(gateway, head, SLOW), slow_clients(gateway, read % token, SLOW // 2):
        async with asyncio.timeout(60):  # the responses of 3 MB wait for their clients
            while sum(line.startswith("GET ") for line, _, _ in core.requests) < SLOW // 2:
                await asyncio.sleep(0.01)
        async with slow_clients(gateway, body % token, SLOW // 2):
            await _is_served(gateway, key)


async def _is_served(gateway: Gateway, key: Key) -> None:
    for _ in range(20):
        assert (await gateway.verify(key.token)).json["valid"]
        reply = await gateway.request("GET", "/cores/docs/file", f"X-API-Key: {key.token}")
        assert (reply.status, reply.body) == (200, b"hello")
    assert (await gateway.request("GET", "/readyz")).status == 200
