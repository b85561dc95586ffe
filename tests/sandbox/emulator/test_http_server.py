"""The HTTP server of the emulator: persistent connections, request bodies and responses without
content.
"""

import http.client
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from sandbox.emulator.http_server import HttpServer
from sandbox.ports import HOST

BODY = b"x" * 300_000


def _application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Returns the request: method, client port and number of body bytes. The path is the status."""
    status = environ["PATH_INFO"][1:]
    if status == "error":
        raise LookupError
    size = len(environ["wsgi.input"].read())
    content = f"{environ['REQUEST_METHOD']} {environ['REMOTE_PORT']} {size}".encode()
    start_response(f"{status} Status", [("X-Size", str(size))])
    return [] if status == "204" else [content[:5], content[5:]]


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    started = HttpServer(HOST, 0, lambda _: _application)
    yield started
    started.stop()


def test_requests_use_one_connection(server: HttpServer) -> None:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    connection.connect()
    port = connection.sock.getsockname()[1]
    requests: list[tuple[str, str, Any, dict[str, str], int]] = [
        ("PUT", "/200", BODY, {}, len(BODY)),
        ("HEAD", "/200", None, {}, 0),
        ("DELETE", "/204", None, {}, 0),
        ("POST", "/404", iter([BODY, b"y"]), {"Transfer-Encoding": "chunked"}, len(BODY) + 1),
        ("POST", "/200", BODY, {}, len(BODY)),
    ]
    for method, path, body, headers, size in requests:
        connection.request(method, path, body, headers, encode_chunked=bool(headers))
        reply = connection.getresponse()
        has_content = method != "HEAD" and path != "/204"
        assert (reply.status, reply.read()) == (
            int(path[1:]),
            f"{method} {port} {size}".encode() if has_content else b"",
        )
        assert reply.headers["X-Size"] == str(size)
    connection.close()


def test_failed_request_is_answered_with_500(server: HttpServer) -> None:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    for path, status in (("/error", 500), ("/200", 200)):
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == status
    connection.close()


def test_body_is_requested_with_one_interim_response(server: HttpServer) -> None:
    with (
        socket.create_connection((HOST, server.port), timeout=30) as connection,
        connection.makefile("rb") as replies,
    ):
        head = (
            f"PUT /200 HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: "
            f"3\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert replies.readline().split()[1] == b"100"
        assert replies.readline() == b"\r\n"
        connection.sendall(b"abc")
        assert replies.readline().split()[1] == b"200"
        assert replies.read().endswith(b" 3")


def test_incomplete_request_is_not_processed(server: HttpServer) -> None:
    with (
        socket.create_connection((HOST, server.port), timeout=30) as connection,
        connection.makefile("rb") as replies,
    ):
        connection.sendall(
            f"PUT /200 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nabc".encode()
        )
        connection.shutdown(socket.SHUT_WR)
        assert replies.read() == b""


def test_stopped_server_closes_idle_connections() -> None:
    stopped = HttpServer(HOST, 0, lambda _: _application)
    connection = http.client.HTTPConnection(HOST, stopped.port, timeout=30)
    connection.request("GET", "/200")
    assert connection.getresponse().read().endswith(b" 0")
    stopped.stop()
    assert connection.sock.recv(1) == b""
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, stopped.port), timeout=30)
