"""Listening sockets: no connection that a client has established is reset."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from gatehouse.platform.http.listening import listen, reject_handshakes
from gatehouse.platform.http.server import serve
from gatehouse.platform.settings import load

from sandbox.ports import free_port
from tests import requires
from tests.runtime.platform.http.test_protocol import PATIENCE_S


def test_check_of_the_port_accepts_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    listening: list[Any] = []
    monkeypatch.setattr(
        socket.socket, "listen", lambda sock, *_: listening.append(sock.getsockname())
    )
    environ = {
        "ENVIRONMENT": "dev",
        "DATABASE_URL": "postgresql://127.0.0.1/none",
        "PEPPER": "invalid",
    }
    settings = load(
        {
            f"GATEHOUSE_{name}": value
            for name, value in {**environ, "GATEWAY_PORT": str(free_port())}.items()
        }
    )
    with pytest.raises(SystemExit):  # the worker stops before it listens
        serve(["gateway"], settings)
    assert listening == []


@pytest.mark.bound("http.server:_HANDSHAKE_S")
@requires.LINUX  # socket filters
async def test_connections_established_before_the_filter_are_served_and_later_ones_refused() -> (
    None
):
    loop = asyncio.get_running_loop()
    with listen("127.0.0.1", 0) as server, socket.socket() as early, socket.socket() as late:
        server.setblocking(False)
        early.setblocking(False)
        late.setblocking(False)
        await loop.sock_connect(early, server.getsockname())
        reject_handshakes(server)
        connecting = asyncio.create_task(loop.sock_connect(late, server.getsockname()))
        await asyncio.sleep(0)
        await loop.sock_sendall(early, b"request")
        with server.accept()[0] as accepted:
            assert accepted.recv(16) == b"request"
        with pytest.raises(BlockingIOError):
            server.accept()
        server.close()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ConnectionRefusedError):
                await connecting
