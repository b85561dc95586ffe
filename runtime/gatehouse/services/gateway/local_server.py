"""The server of a gateway worker: HTTP/1.1 over a Unix socket to which only Envoy connects.

Envoy has parsed and limited each request, sends its body at once (the buffer filter) unless the
client expects an interim response, and sends the next request of a connection after the response.
The server therefore needs no timeouts.

A request runs without a task until it waits, because a task takes a sixth of the time of a
verification (docs/decisions/0018). From Python 3.12, `asyncio.eager_task_factory` is similar.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from types import coroutine
from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from gatehouse.platform.web import asgi
from gatehouse.platform.web.request import MALFORMED

#: Processes a request. The coroutine must not raise an exception.
Process = Callable[[Scope], Coroutine[Any, Any, None]]

#: In the scope of a request: the connection, and the body.
CONNECTION, BODY = "gatehouse.connection", "gatehouse.body"

_BACKLOG = 4096
_STATUS_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}


class LocalConnection(asyncio.Protocol):
    """A connection of Envoy."""

    __slots__ = (
        *("_body", "_fields", "_is_refused", "_parser", "_process", "_target", "_transport"),
        "on_lost",
    )

    def __init__(self, process: Process) -> None:
        self._process = process
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._fields, self._body = b"", list[asgi.Header](), b""
        self._is_refused = False
        #: Called if Envoy ends the connection: it may not have received the last response.
        self.on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.on_lost is not None:
            self.on_lost()

    @property
    def is_closing(self) -> bool:
        return bool(self._transport.is_closing())

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # a check of a WebSocket handshake
        except httptools.HttpParserError:
            self._refuse()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_body(self, part: bytes) -> None:
        self._body += part

    def _refuse(self) -> None:
        """Processes a request that the parser does not know, of which the method and the path are
        not logged. Clients can send it over HTTP/2.
        """
        self._is_refused, self._target, self._fields = True, b"/", []
        self._run({"method": "GET", MALFORMED: True})

    def on_message_complete(self) -> None:
        self._run({"method": self._parser.get_method().decode()})
        if self._parser.should_upgrade():
            # The parser reads no further request after a request for an upgrade.
            self._parser = httptools.HttpRequestParser(self)

    def _run(self, members: Scope) -> None:
        path, _, query = self._target.partition(b"?")
        scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": self._fields,
            CONNECTION: self,
            BODY: self._body,
            **members,
        }
        self._target, self._fields, self._body = b"", [], b""
        self.on_lost = None
        begin(self._process(scope))

    def respond(self, response: asgi.Response) -> None:
        """Sends a response, unless Envoy has ended the connection."""
        if self._is_refused:
            response.raw_headers.append((b"connection", b"close"))
        self._transport.write(encode_response(response))
        if self._is_refused:
            self._transport.close()


class ExpectingConnection(LocalConnection):
    """A connection with requests that can have the header Expect (RFC 9110, section 10.1.1).
    body_max_bytes: maximum size of a body, of which no more than one byte more is kept.
    """

    __slots__ = ("_body_max_bytes",)

    def __init__(self, process: Process, body_max_bytes: int) -> None:
        super().__init__(process)
        self._body_max_bytes = body_max_bytes

    def on_headers_complete(self) -> None:
        if any(name == b"expect" for name, _ in self._fields):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._body += part[: self._body_max_bytes + 1 - len(self._body)]


def encode_response(response: asgi.Response) -> bytes:
    status = response.status_code
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    headers = b"".join(b"%b: %b\r\n" % field for field in response.raw_headers)
    return b"%b%b\r\n%b" % (line, headers, response.body)


async def listen(
    path: Path, factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
) -> asyncio.AbstractServer:
    """Serves a Unix socket that only this user can connect to. Replaces that of a worker that was
    killed.
    """
    path.unlink(missing_ok=True)
    server = await asyncio.get_running_loop().create_unix_server(
        factory, str(path), backlog=_BACKLOG, ssl=tls
    )
    path.chmod(0o600)
    return server


def begin(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine until it waits, and the rest in a task. What needs a task,
    such as `asyncio.timeout`, therefore follows `await asyncio.sleep(0)`.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_rest(work, waits_for))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


#: The event loop has only weak references to tasks.
_tasks: set[asyncio.Task[None]] = set()


async def _rest(work: Coroutine[Any, Any, None], waits_for: object) -> None:
    await _resumed(work, waits_for)


@coroutine
def _resumed(work: Coroutine[Any, Any, None], waits_for: object) -> Any:
    """Yields what the coroutine waits for to the task, then continues it."""
    try:
        yield waits_for
    except BaseException as exc:  # the task was cancelled
        try:
            waits_for = work.throw(exc)
        except StopIteration:
            return
        yield waits_for
    yield from work
