"""One request and its response. An ASGI application responds, without a task until it needs one
(platform/executions.py).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from http import HTTPStatus

from gatehouse.core.errors import GatehouseError
from gatehouse.platform.executions import Execution, in_task
from gatehouse.platform.http import asgi
from gatehouse.platform.http.connections import ANYONE, Connections, KeepBytes
from gatehouse.platform.http.listening import reset_at_close
from gatehouse.platform.http.transport import ClientTransport

#: Reading pauses when more than this number of bytes of a body waits for the application.
_WAITING_BYTES_MAX = 65_536

#: Maximum number of parts of a body that wait. Further ones are joined, because a part takes more
#: memory than its bytes.
_PARTS_MAX = 1024

#: A smaller body is sent together with the head, which needs one system call less.
_COPIED_BYTES = 16_384

#: Statuses of responses without a body.
_NO_BODY = (204, 304)

_EXCHANGE = "gatehouse.exchange"

CLOSE_LINE = b"connection: close\r\n"

_STATUS_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}


def response_head(status: int, date_line: bytes, lines: bytes) -> bytes:
    """Status line and headers of a response. lines: header lines, see `asgi.encode_headers`."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"%b%b%b" % (line, date_line, lines)


def error_response(error: GatehouseError) -> asgi.Response:
    request_id = asgi.request_id()
    body = asgi.problem(error, request_id)
    own = [(b"x-request-id", request_id.encode()), *asgi.problem_headers(error)]
    headers = asgi.response_headers(body, asgi.PROBLEM_JSON, own)
    return asgi.Response(error.status, headers, body)


class Connection(ABC):
    worker: Connections
    transport: ClientTransport

    @abstractmethod
    def has_more(self) -> bool:
        """True if the client has sent another request."""

    @abstractmethod
    def reject_unfinished(self, error: GatehouseError) -> bool:
        """Rejects the request that is being received. Returns False if there is none."""

    @abstractmethod
    def end_exchange(self, exchange: "Exchange") -> None:
        """Called when the response is complete."""


class Exchange(Execution):
    """A request at the server, which serves complete bodies and responses without ASGI messages.
    The scope contains it under `_EXCHANGE` until the response is complete.

    scope: ASGI scope. values: the last value of each header. is_received: the whole request has
    been received. disconnected: the client has disconnected. is_cancelled_on_disconnect: then the
    application is cancelled. is_started: the application was called, or the request waits for its
    turn. begins_with_body: the application is called when the body has been received. keep_alive:
    the connection is kept after the response. subject: for which the memory and the turns of the
    request count. rejection: the error with which the server has rejected the request for others,
    or its body.
    """

    # Attributes of the class are the initial values, which saves most of the time of `__init__`.
    is_received = disconnected = is_cancelled_on_disconnect = False
    is_started = begins_with_body = response_started = response_complete = False
    _end_read = _chunked = _sends_body = False
    subject = ANYONE
    #: Bytes of the body that wait for the application.
    waiting_bytes = 0
    rejection: GatehouseError | None = None
    _body_left: int | None = None
    _changed: asyncio.Event | None = None

    def __init__(
        self,
        connection: Connection,
        scope: asgi.Scope,
        values: dict[bytes, bytes],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.scope = scope
        self.values = values
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.connection = connection
        self._transport = connection.transport
        self._parts: list[bytes] = []
        scope[_EXCHANGE] = self

    # Request

    def take_body(self) -> bytes:
        """The part of the body that has been received and not been read."""
        body = b"".join(self._parts)
        self._parts, self.waiting_bytes = [], 0
        self._end_read = self.is_received
        return body

    def receive_body(self, data: bytes) -> None:
        if self.response_complete or self.disconnected:
            return
        self._parts.append(data)
        if len(self._parts) > _PARTS_MAX:
            self._parts = [b"".join(self._parts)]
        self.waiting_bytes += len(data)
        if self.waiting_bytes > min(_WAITING_BYTES_MAX, self.connection.worker.part_bytes):
            self._transport.pause_reading()
        if self._changed is not None:
            self._changed.set()

    def end_request(self) -> None:
        self.is_received = True
        if self._changed is not None:
            self._changed.set()

    def reject_unfinished(self, error: GatehouseError) -> bool:
        """Rejects the request if its body has not been received, or if it is not authorized. The
        application, which may be waiting for something else, is cancelled, so that its part of the
        body is freed.
        """
        if self.response_started:
            return False
        if self.is_received or self.disconnected:
            if self.subject is not ANYONE:
                return False
            if self.is_writable:
                self.keep_alive, self.rejection = False, error
                self.respond(error_response(error))
            elif not self.disconnected:
                return False
        elif not self.connection.reject_unfinished(error):
            return False
        self.cancel()
        return True

    def disconnect(self) -> None:
        """Ends the exchange without a response. The application receives a disconnect event."""
        self.disconnected = True
        self.end()
        if self.is_cancelled_on_disconnect:
            self.cancel()

    def end(self) -> None:
        """The application can use ASGI messages only. What it has not read is freed."""
        self.scope.pop(_EXCHANGE, None)  # refers to this object
        self._parts, self.waiting_bytes = [], 0
        if self._changed is not None:
            self._changed.set()

    async def turn(self) -> None:
        """Waits until the request continues, see `Connections.turn`."""
        await self.connection.worker.turn(self.scope, self.subject)

    # Response

    @property
    def is_writable(self) -> bool:
        """False if the client has to read earlier responses first, or has disconnected, and after
        the response.
        """
        return not (self._transport.write_paused or self.disconnected or self.response_complete)

    def respond(self, response: asgi.Response) -> None:
        """Sends a complete response. Has no effect if the client has disconnected."""
        if self.disconnected:
            return
        status, body = response.status, response.body
        head = self._head(status, response.headers)
        if not self._has_body(status):
            body = b""
        elif (length := b"\r\ncontent-length: %d\r\n" % len(body)) not in head:
            if b"\r\ncontent-length: " in head:
                raise RuntimeError("The Content-Length of the response is not that of its body.")
            head += length[2:]
        if len(body) < _COPIED_BYTES:
            self._transport.send(b"%b\r\n%b" % (head, body))
        else:  # clients that do not read their responses keep one copy of a body in memory
            self._transport.send(head + b"\r\n")
            self._transport.send(body)
        self._complete()

    def call(self, app: asgi.App) -> None:
        """Lets an ASGI application respond. An application with a method `begin`, which has the
        same parameters, calls `in_task` itself.
        """
        begin = getattr(app, "begin", None) or partial(_in_task, app)
        work = begin(self.scope, self._receive, self._send)
        self.execute(work, self.connection.worker.running)

    # ASGI

    def ended(self) -> None:
        """The application, which logs its errors, has ended."""
        if self.response_complete or self.disconnected:
            return
        if self.response_started:
            # So that the client detects the incomplete response.
            if self._body_left is None and not self._chunked:
                reset_at_close(self._transport.transport)
            self._transport.close()
            return
        self.keep_alive = False
        self.respond(error_response(GatehouseError("Internal error.")))

    async def _receive(self) -> asgi.Message:
        has_to_wait = not (self.is_received or self.disconnected or self.response_started)
        if self.expects_continue and has_to_wait:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.expects_continue = False
        while True:
            await self.turn()
            if self.disconnected or self.response_complete:
                return {"type": "http.disconnect"}
            self._transport.resume_reading()
            if self.waiting_bytes or (self.is_received and not self._end_read):
                more_body = not self.is_received
                return {"type": "http.request", "body": self.take_body(), "more_body": more_body}
            self._changed = self._changed or asyncio.Event()
            self._changed.clear()
            await self._changed.wait()

    async def _send(self, message: asgi.Message) -> None:
        if self._transport.write_paused and not self.disconnected:
            await self._transport.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("The response is already complete.")
        if not self.response_started:
            self._transport.write(self._begin(message["status"], message.get("headers", ())))
            return
        more = message.get("more_body", False)
        self._transport.write(self._part(message.get("body", b""), more=more))
        if more:
            # The application does not hold the next part while the client does not read this one.
            await self._transport.drain()
            await self.turn()
            return
        if self._body_left:
            raise RuntimeError("The response is shorter than its Content-Length.")
        self._complete()

    def _has_body(self, status: int) -> bool:
        return self.scope["method"] != "HEAD" and status not in _NO_BODY

    def _head(self, status: int, headers: Sequence[asgi.Header]) -> bytes:
        lines = asgi.encode_headers(headers)
        if not len(headers) == lines.count(b"\r") == lines.count(b"\n") or b"\0" in lines:
            raise RuntimeError("A header of the response contains a line break or NUL.")
        self.response_started, connection = True, self.connection
        self._transport.subject = self.subject
        closes = b"connection: " in lines and b"close" in dict(headers).get(b"connection", b"")
        # A client that waits for status 100 may send no body after this response.
        sends_no_body = self.expects_continue and not self.is_received
        if closes or sends_no_body or (connection.worker.draining and not connection.has_more()):
            self.keep_alive = False
        if not (self.keep_alive or closes):
            lines += CLOSE_LINE
        return response_head(status, connection.worker.date_line(), lines)

    def _begin(self, status: int, headers: Sequence[asgi.Header]) -> bytes:
        head, length = self._head(status, headers), dict(headers).get(b"content-length")
        self._sends_body = self._has_body(status)
        if length is not None and self._sends_body:
            self._body_left = int(length)
        elif self._sends_body and self.scope["http_version"] == "1.1":
            self._chunked, head = True, head + b"transfer-encoding: chunked\r\n"
        return head + b"\r\n"

    def _part(self, body: bytes, *, more: bool) -> bytes:
        if not self._sends_body:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self._body_left is not None:
            self._body_left -= len(body)
            if self._body_left < 0:
                raise RuntimeError("The response is longer than its Content-Length.")
        return body

    def _complete(self) -> None:
        self.response_complete = True
        self.end()
        self.connection.end_exchange(self)


def exchange_of(scope: asgi.Scope) -> Exchange | None:
    """The exchange of a request. None after the response, and for other servers."""
    exchange: Exchange | None = scope.get(_EXCHANGE)
    return exchange


def body_memory(scope: asgi.Scope) -> AbstractContextManager[KeepBytes]:
    """The memory of the body of a request. A server without limits, such as a Lambda function,
    counts nothing.
    """
    connections: Connections | None = scope.get("state", {}).get(asgi.BODY_MEMORY)
    if connections is None:
        return nullcontext(lambda size: None)
    return connections.of_body(scope, exchange_of(scope))


async def _in_task(
    app: asgi.App, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send
) -> None:
    await in_task()
    await app(scope, receive, send)
