"""TLS of a service."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from gatehouse.platform.http import server as http_server
from gatehouse.platform.http import tls as http_tls
from gatehouse.platform.settings import ConnectionSettings

from tests.runtime.platform.http.test_protocol import (
    LARGE,
    MODES,
    PATIENCE_S,
    Running,
    freed_connections,
    running,
)
from tests.runtime.platform.http.test_shutdown import GET, drain, response
from tests.runtime.waiting import until

TLS = ConnectionSettings(
    tls="self_signed",
    request_timeout_s=600,
    response_timeout_s=600,
    drain_s=600,
    stop_timeout_s=600,
)
LIMITS = TLS.model_copy(update={"request_timeout_s": 0.3})

pytestmark = pytest.mark.requirement("SS-13")


@pytest.fixture(params=MODES)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with running(TLS, mode=request.param) as started:
        yield started


def client(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, version
    return context


async def connect(
    port: int, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context or client(), ssl_handshake_timeout=PATIENCE_S
    )


@pytest.mark.bound("http.server:_TLS_READ_BYTES")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_connection_serves_several_requests(server: Running, version: ssl.TLSVersion) -> None:
    reader, writer = await connect(server.port, client(version))
    tls = writer.get_extra_info("ssl_object")
    assert (tls.version(), tls.cipher()[0].startswith(("TLS_", "ECDHE-ECDSA-"))) == (
        version.name.replace("_", "."),
        True,
    )
    for _ in range(3):
        writer.write(GET)
        assert (await response(reader))[0].startswith(b"HTTP/1.1 200 ")
    writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
    assert (await response(reader))[1].endswith(b"300000")
    writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len((await response(reader))[1]) == LARGE
    (connection,) = server.connections.protocols
    accepted = connection.transport.transport.get_extra_info("socket")
    size = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert size <= 2 * http_server._TLS_READ_BYTES
    writer.close()


async def test_connection_is_freed_without_garbage_collection(server: Running) -> None:
    async with freed_connections():
        reader, writer = await connect(server.port)
        writer.write(GET)
        await response(reader)
        writer.close()


async def test_unfinished_handshake_is_freed_without_garbage_collection(server: Running) -> None:
    async with freed_connections():
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: server.server._opening)
        writer.transport.abort()
        await until(lambda: not server.server._opening)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_older_versions_and_plaintext_are_rejected() -> None:
    async with running(TLS) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(server.port, client(ssl.TLSVersion.TLSv1_1))
        assert b"HTTP/" not in await server.send(GET)


async def test_every_server_has_its_own_certificate() -> None:
    certificates = []
    for _ in range(2):
        async with running(TLS) as server:
            _, writer = await connect(server.port)
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            certificates.append(x509.load_der_x509_certificate(der))
            writer.close()
    keys = [certificate.public_key() for certificate in certificates]
    assert all(isinstance(key, ec.EllipticCurvePublicKey) for key in keys)
    assert keys[0] != keys[1]
    assert all(certificate.subject == certificate.issuer for certificate in certificates)


@pytest.mark.bound("request_timeout_s")
async def test_unfinished_handshake_is_closed() -> None:
    async with running(LIMITS) as server:
        assert await server.send(b"") == b""
        assert await server.send(b"\x16\x03\x01\x02\x00\x01") == b""
        _, writer = await connect(server.port)  # other clients are served
        writer.close()


@pytest.mark.bound("connections_max", "address_connections_max")
@pytest.mark.parametrize(
    ("limit", "trusted"), [("connections_max", "127.0.0.0/8"), ("address_connections_max", "")]
)
async def test_connections_without_a_handshake_are_bounded(limit: str, trusted: str) -> None:
    limits = TLS.model_copy(update={limit: 2})
    async with running(limits, trusted) as server, asyncio.timeout(PATIENCE_S):
        opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        ends = [asyncio.create_task(reader.read()) for reader, _ in opened]
        ended, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for _, writer in opened:
            writer.close()
        await asyncio.wait(ends)
    assert (len(ended), ends[2] in ended) == (1, limit != "connections_max")


@pytest.mark.bound("connections_max")
async def test_handshakes_of_the_network_with_most_make_room() -> None:
    limits = TLS.model_copy(update={"connections_max": 8})
    async with running(limits) as server, asyncio.timeout(PATIENCE_S):
        addresses = [f"127.0.0.{last}" for last in (2, 2, 2, 2, 3, 2, 2, 2, 4)]
        opened = [
            await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
            for address in addresses
        ]
        assert await opened[0][0].read() == b""
        assert sorted(each.network for each in server.server._opening) == sorted(addresses[1:])
        for _, writer in opened:
            writer.close()


@pytest.mark.bound("http.tls:SHUTDOWN_TIMEOUT_S")
async def test_client_that_does_not_confirm_the_end_is_disconnected() -> None:
    async with running(LIMITS) as server, unconfirmed(server.port):
        # The head timeout closes the connection.
        await until(lambda: not server.connections.protocols)


@pytest.mark.bound("http.transport:_TLS_PART_BYTES", "platform.tls_records:_WRITE_BYTES")
@pytest.mark.parametrize("is_read", [True, False])
async def test_response_that_the_client_does_not_read_is_bounded(is_read: bool) -> None:
    size = 50_000_000
    async with running(TLS.model_copy(update={"response_timeout_s": 1})) as server:
        reader, writer = await connect(server.port)
        await until(lambda: server.connections.protocols)
        (connection,) = server.connections.protocols
        connection.transport.send(bytes(size))
        assert server.connections.unsent.total == size
        if is_read:
            connection.transport.close()
            assert len(await reader.read()) == size
        await until(lambda: not server.connections.protocols)
        assert server.connections.unsent.total == 0
        writer.close()


async def test_client_that_reads_slowly_receives_all_of_the_last_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_tls, "SHUTDOWN_TIMEOUT_S", 0.01)
    async with running(TLS) as server, asyncio.timeout(PATIENCE_S):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.connect(("127.0.0.1", server.port))
            reader, writer = await asyncio.open_connection(
                sock=sock.dup(), ssl=client(), server_hostname="a"
            )
        await until(lambda: server.connections.protocols)
        (connection,) = server.connections.protocols
        accepted = connection.transport.transport.get_extra_info("socket")
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        connection.transport.send(bytes(1_000_000))
        connection.transport.close()
        received = 0
        while connection.transport._rest:
            received += len(await reader.read(4096))
        waiting, other = await connect(server.port)
        await until(lambda: server.connections.protocols - {connection})
        waiting._transport.pause_reading()  # type: ignore[attr-defined]
        (last,) = server.connections.protocols - {connection}
        last.transport.close()  # is not confirmed
        await until(lambda: last not in server.connections.protocols)
        assert received + len(await reader.read()) == 1_000_000
        for each in (writer, other):
            each.transport.abort()


async def test_server_stops_while_the_end_of_a_connection_is_not_confirmed() -> None:
    async with running(TLS) as server, unconfirmed(server.port):
        await until(lambda: server.connections.protocols)
        for connection in server.connections.protocols:
            connection.shutdown()
            connection.shutdown()


@asynccontextmanager
async def unconfirmed(port: int) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        tls = client().wrap_bio(incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO())
        sock.setblocking(False)
        is_open = False
        while not is_open:
            try:
                tls.do_handshake()
                is_open = True
            except ssl.SSLWantReadError:
                pass
            await loop.sock_sendall(sock, outgoing.read())
            if not is_open:
                incoming.write(await loop.sock_recv(sock, 65_536))
        async with asyncio.timeout(PATIENCE_S):
            yield


async def test_draining_server_completes_connections_of_the_backlog(server: Running) -> None:
    reader, writer = await connect(server.port)
    writer.write(GET)
    await response(reader)
    await drain(server)
    for _ in range(2):
        writer.write(GET)
        assert b"connection: close" in (await response(reader))[0]
        writer.close()
        reader, writer = await connect(server.port)
    writer.close()


@pytest.mark.parametrize(("variable", "code"), [("self_signed", 0), ("off", 1)])
async def test_health_command_uses_tls(variable: str, code: int) -> None:
    async with running(TLS) as server:
        environ = {
            **os.environ,
            "GATEHOUSE_TLS": variable,
            "GATEHOUSE_GATEWAY_PORT": str(server.port),
        }
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("gatehouse"),
            "health",
            "gateway",
            env=environ,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == code
