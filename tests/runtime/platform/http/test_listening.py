"""Listening sockets: no connection that a client has established is reset."""

import asyncio
import resource
import socket
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from gatehouse.platform.http.listening import UNSENT_BYTES, listen, reject_handshakes
from gatehouse.platform.http.server import _ACCEPTED_MAX, allow_files, serve
from gatehouse.platform.settings import load

from sandbox.ports import free_port
from tests import requires
from tests.runtime.platform.http.test_protocol import NEVER, PATIENCE_S, running
from tests.runtime.waiting import until


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


@requires.LINUX
def test_kernel_keeps_little_that_it_has_not_sent() -> None:
    with listen("127.0.0.1", 0) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.getsockname())
        with server.accept()[0] as accepted:
            accepted.setblocking(False)
            sent = 0
            with suppress(BlockingIOError):
                while sent < 10_000_000:
                    sent += accepted.send(bytes(100_000))
    assert sent < 4 * UNSENT_BYTES


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


async def accept_all(clients: int) -> int:
    async with running(NEVER) as server, asyncio.timeout(PATIENCE_S):
        address, iterations = ("127.0.0.1", server.port), 0
        opened = [socket.create_connection(address) for _ in range(clients)]
        while len(server.connections.protocols) < clients:
            await asyncio.sleep(0)
            iterations += 1
        for client in opened:
            client.close()
        return iterations


@pytest.mark.bound("http.server:_ACCEPTED_MAX")
def test_several_connections_are_accepted_in_an_iteration_of_the_loop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(accept_all(2 * _ACCEPTED_MAX + 1)) < 16


@pytest.mark.bound("http.server:_ACCEPT_RETRY_S")
async def test_connection_without_a_free_file_descriptor_is_accepted_later() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running(NEVER) as server, asyncio.timeout(PATIENCE_S):
        with socket.create_connection(("127.0.0.1", server.port)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                for _ in range(3):
                    await asyncio.sleep(0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert not server.connections.protocols
            await until(lambda: server.connections.protocols)


def test_files_without_a_hard_limit_are_those_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(256, resource.RLIM_INFINITY)]

    def set_limits(_: int, new: tuple[int, int]) -> None:
        if new[0] == resource.RLIM_INFINITY:
            raise ValueError
        limits.append(new)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    assert allow_files() == 10_240
