"""Handles HTTP/1.1 connections with uvicorn's httptools protocol, a deadline for every wait and a
limit for every buffer.

uvicorn only times out idle connections. This protocol also ends connections whose client sends a
request too slowly or does not read the response. It limits the size of a request head, the number
of connections per worker and per IP address, and the number of request bodies that an IP address
sends at the same time. It rejects requests that two servers could frame differently.

Sources: RFC 9110, section 15.5.9 (408); RFC 9112, sections 3.2 (Host), 6.1 (framing) and 9.6
    (closing); RFC 6585 (429, 431).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from gatehouse.core.addresses import parse_address
from gatehouse.core.errors import (
    BadRequest,
    GatehouseError,
    HeadersTooLarge,
    RequestTimeout,
    TargetTooLong,
    Unavailable,
)
from gatehouse.platform.http import asgi
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.http.deferred import DeferringProtocol
from gatehouse.platform.http.writing import TransportOfCycle
from gatehouse.platform.settings import BYTES_PER_S_MIN

#: After an error response, the rest of the request is read and discarded, up to this time and size.
#: Closing the connection immediately would reset it, and the client could lose the response (RFC
#: 9112, section 9.6).
_LINGER_S = 2.0
_LINGER_BYTES_MAX = 262_144

_TARGET_BYTES_MAX = 16_384

#: Maximum size of the data that a client sends after an upgrade request, before the response.
_UPGRADE_BYTES_MAX = 65_536

#: Maximum number of headers, and maximum total size of their names and values in bytes.
_HEADERS_MAX = 100
_HEAD_BYTES_MAX = 65_536

#: A DNS name or IPv4 address, or an IPv6 address in brackets, with an optional port: the hosts of
#: RFC 3986, section 3.2.2, that a server can have.
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")

_COMPLETE = (asgi.EncodedResponse, asgi.Response)
_CLOSE = (b"connection", b"close")
_CLOSE_LINE = asgi.encode_headers((_CLOSE,))


class HttpProtocol(DeferringProtocol):
    """One connection. A client that exceeds a limit receives a problem document, and the connection
    is closed.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        worker: Connections,
        respond_now: asgi.SynchronousRoutes,
    ) -> None:
        """respond_now: tried before the application. If an entry responds, the application is not
        called.
        """
        super().__init__(config, server_state, {**app_state, asgi.BODY_MEMORY: worker}, _loop)
        # uvicorn accepts bytes after a request with `Connection: close`; this parser rejects them.
        self.parser = httptools.HttpRequestParser(self)
        self._worker = worker
        self._writes = worker.writes
        self._routes = respond_now
        self._settings = worker.settings
        self._peer = ""
        self._head_bytes = 0
        self._fields = 0
        self._in_head = False
        self._in_body = False
        #: Called when the current request is complete. None: the application has been called for
        #: the current request.
        self._prepare: asgi.PrepareResponse | None = None
        self._parts: list[bytes] = []
        #: Network of the client under which the unfinished body is counted.
        self._body_network: str | None = None
        #: Bytes of the body that were received since the last check of its speed.
        self._body_received = 0
        self._body_paused = False
        #: The error response to a pipelined request, which is sent after the responses to earlier
        #: requests.
        self._error: GatehouseError | None = None
        self._closing = False
        self._discarded = 0
        #: Deadline for the head, for the body, or for a connection that is closing.
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        #: Data after an upgrade request; None if there is no such request.
        self._upgrade_data: bytearray | None = None
        #: Protocol of the connection after an accepted upgrade.
        self._upgraded: asyncio.Protocol | None = None
        self._on_shutdown: Callable[[], None] | None = None

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client:
            self._peer = str(parse_address(self.client[0]) or self.client[0])
            self.client = (self._peer, self.client[1])
        try:
            self._worker.open(self._peer)
        except GatehouseError as exc:
            self._reject(exc)
        else:
            self._timer = self.loop.call_later(self._settings.request_timeout_s, self._head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.close(self._peer)
        self._end_body()
        self._cancel_timer()
        self._unset_keepalive_if_required()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        if self._upgrade_data is not None or self._upgraded is not None:
            self._end_upgrade(exc)

    def data_received(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.data_received(data)
            return
        if self._closing or self._error is not None:
            self._discard(len(data))
            return
        if self._upgrade_data is not None:
            self._add_upgrade_data(data)
            return
        self._unset_keepalive_if_required()
        if self._in_body:
            self._body_received += len(data)
            if self.cycle.response_complete:
                self._discard(len(data))
        try:
            self.parser.feed_data(data)
            if self._prepare is not None:
                self._call_application()
        except httptools.HttpParserUpgrade as exc:
            # the data after the request is not HTTP, even if the application rejects the upgrade
            self.cycle.keep_alive = False
            self._upgrade_data = bytearray()
            self._add_upgrade_data(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            cause = exc.__context__
            self._reject(
                cause
                if isinstance(cause, GatehouseError)
                else BadRequest("The request is not valid HTTP/1.1.")
            )
        else:
            self._set_deadline()

    def _set_deadline(self) -> None:
        """Sets the deadline for the next data that the client has to send."""
        if self._in_body:
            if self.flow.read_paused:
                self._body_paused = True
            if self._body_network is None:
                self._begin_body()
        elif self._timer is None and (
            self._in_head or (self.timeout_keep_alive_task is None and not self._is_running())
        ):
            self._timer = self.loop.call_later(self._settings.request_timeout_s, self._head_timeout)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _LINGER_BYTES_MAX:
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Head

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_head = True
        self._head_bytes = 0
        self._fields = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > _TARGET_BYTES_MAX:
            raise TargetTooLong(f"The request target is longer than {_TARGET_BYTES_MAX} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self._fields += 1
        if self._head_bytes > _HEAD_BYTES_MAX or self._fields > _HEADERS_MAX:
            bounds = f"{_HEADERS_MAX} headers or {_HEAD_BYTES_MAX} bytes"
            raise HeadersTooLarge(f"The request has more than {bounds} of headers.")
        if self._in_head:  # trailers are discarded
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel_timer()
        hosts = [value for name, value in self.headers if name == b"host"]
        version = self.parser.get_http_version()
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            raise BadRequest("The request must have exactly one Host header.")
        if hosts and _HOST.fullmatch(hosts[0]) is None:
            raise BadRequest(
                "The Host header must be a DNS name or an IP address, with an optional port."
            )
        if b"#" in self.url or not self.url.isascii():
            raise BadRequest(
                "The request target contains a # or a byte that is not ASCII; percent-encode it."
            )
        if version not in ("1.0", "1.1"):
            raise BadRequest("Use HTTP/1.1.")
        self._in_body = True
        if self.parser.should_upgrade():
            cast("asgi.Scope", self.scope)["extensions"] = {asgi.UPGRADE: self._accept_upgrade}
        self._prepare = (
            self._routes.find(self.url, self.parser.get_method())
            if self._can_respond_now()
            else None
        )
        if self._prepare is None:
            super().on_headers_complete()

    def _can_respond_now(self) -> bool:
        """False for a request to which only the application can respond, or that waits for the
        response to an earlier request.
        """
        return (
            not self._worker.draining
            and not self._is_running()
            and not self.flow.write_paused
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def _head_timeout(self) -> None:
        self._timer = None
        if self._is_running():
            # The client is still being served.
            self._timer = self.loop.call_later(self._settings.request_timeout_s, self._head_timeout)
        elif self._in_head:
            self._reject(RequestTimeout("The headers of the request were not received in time."))
        else:
            self._close()

    # Body

    def on_body(self, body: bytes) -> None:
        if self._prepare is not None:
            self._parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._end_body()
        if self._prepare is not None:
            if self._respond_now(self._prepare):
                return
            self._call_application()
        super().on_message_complete()

    def _respond_now(self, prepare: asgi.PrepareResponse) -> bool:
        """Sends a synchronous response. Returns False if the application has to be called."""
        target, _, query = self.url.partition(b"?")
        self.scope |= {
            "method": self.parser.get_method().decode("ascii"),
            "raw_path": target,
            "query_string": query,
        }
        respond, body = prepare(cast("asgi.Scope", self.scope)), b"".join(self._parts)
        response = None if respond is None else respond(body)
        if respond is None or response is None:
            return False
        self._prepare = None
        self._parts = []
        keep_alive = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        if not isinstance(response, _COMPLETE):
            self._defer(response, body, keep_alive=keep_alive)
            return True
        self._write(response, b"" if keep_alive else _CLOSE_LINE)
        if keep_alive:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._close()
            self._watch_writing()
        return True

    def _call_application(self) -> None:
        """Calls the application for a request that was postponed, with the part of the body that
        has been received.
        """
        self._prepare = None
        super().on_headers_complete()
        for part in self._parts:
            super().on_body(part)
        self._parts = []

    def _begin_body(self) -> None:
        """Starts the checks of the speed of a body that was not received completely together with
        the head.
        """
        self._body_network = self._worker.network(self._peer, self.headers)
        self._body_received = 0
        self.cycle.transport = cast(
            "asyncio.Transport", TransportOfCycle(self.transport, self._close_after_body)
        )
        self._timer = self.loop.call_later(self._settings.request_timeout_s, self._check_body_speed)
        try:
            self._worker.open_body(self._body_network)
        except GatehouseError as exc:
            self._reject(exc)

    def _end_body(self) -> None:
        self._in_body = False
        if self._body_network is not None:
            self._worker.bodies.remove(self._body_network)
            self._body_network = None
            self._cancel_timer()

    def _check_body_speed(self) -> None:
        """Ends a request whose body was slower than BYTES_PER_S_MIN since the last check, unless
        reading was paused.
        """
        timeout_s = self._settings.request_timeout_s
        if self._body_paused or self._body_received >= timeout_s * BYTES_PER_S_MIN:
            self._body_paused, self._body_received = self.flow.read_paused, 0
            self._timer = self.loop.call_later(timeout_s, self._check_body_speed)
            return
        self._timer = None
        self._reject(RequestTimeout("The body of the request was not received in time."))

    # Upgrade

    def _add_upgrade_data(self, data: bytes) -> None:
        """Stores data that the client sends before the upgrade is accepted. Clients have to wait
        for the response (RFC 6455, section 4.1), so the amount is limited."""
        if self._upgrade_data is not None:
            self._upgrade_data += data
            if len(self._upgrade_data) > _UPGRADE_BYTES_MAX:
                self.transport.abort()

    def _accept_upgrade(
        self,
        headers: list[asgi.Header],
        protocol: asyncio.Protocol,
        on_shutdown: Callable[[], None],
    ) -> bytes:
        """Implements asgi.AcceptUpgrade."""
        if self._upgrade_data is None or self.transport.is_closing():
            raise asgi.ClientGone
        if self._stopping:
            raise Unavailable("The server is stopping.")
        self.cycle.response_started = self.cycle.response_complete = True
        self.flow.resume_reading()
        self._write(asgi.Response(101, headers, b""))
        self._writes.flush()
        data, self._upgrade_data = bytes(self._upgrade_data), None
        self._upgraded, self._on_shutdown = protocol, on_shutdown
        protocol.connection_made(self.transport)
        if self.flow.write_paused:
            protocol.pause_writing()
        return data

    def _end_upgrade(self, exc: Exception | None) -> None:
        """Removes the references to this object, so that it is freed without garbage collection."""
        protocol, self._upgraded, self._on_shutdown = self._upgraded, None, None
        cast("asgi.Scope", self.scope).pop("extensions", None)
        if protocol is not None:
            protocol.connection_lost(exc)

    def shutdown(self) -> None:
        self._stopping = True
        self._writes.flush()
        if self._on_shutdown is not None:
            self._on_shutdown()
        elif not self._in_head and self._prepare is None:  # otherwise, the request is not complete
            super().shutdown()

    # Response

    def send_deferred(
        self, response: asgi.Response | asgi.EncodedResponse, *, keep_alive: bool
    ) -> None:
        self._write(response, b"" if keep_alive else _CLOSE_LINE)
        if not keep_alive:
            self._close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_writing()
        elif self._error is not None and not self._is_running():
            self._send_error(self._error)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._upgraded is not None:
            self._upgraded.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._upgraded is not None:
            self._upgraded.resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._writes.flush()
        super().timeout_keep_alive_handler()
        self._watch_writing()

    # Errors

    def _reject(self, error: GatehouseError) -> None:
        """Sends an error response to the current request, after the responses to earlier requests,
        and closes the connection.
        """
        self._worker.on_reject(error, self._peer)
        self._writes.flush()
        in_body = self._in_body and self._prepare is None
        self._prepare = None
        self._in_head = False
        self._end_body()
        if in_body and self.cycle.response_complete:
            self.transport.close()
            return
        running = self._running if self._is_running() else None
        if in_body and self.cycle is running and running is not None:
            # Report a disconnected client to the application.
            running.disconnected = True
            running.message_event.set()
            if running.response_started:
                self.transport.abort()
                return
            running = None
        elif in_body and self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        if running is None:
            self._send_error(error)
        else:
            self._error = error

    def _send_error(self, error: GatehouseError) -> None:
        request_id = asgi.request_id()
        body = asgi.problem(error, request_id)
        own = [_CLOSE, (b"x-request-id", request_id.encode()), *asgi.problem_headers(error)]
        self._write(
            asgi.Response(error.status, asgi.response_headers(body, asgi.PROBLEM_JSON, own), body)
        )
        self._writes.flush()
        self._linger()

    def _close_after_body(self) -> None:
        """Closes the connection after a response that the application sent before it received the
        complete body.
        """
        if self._in_body:
            self._end_body()
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Ends the responses, and closes the connection when the client has sent the rest of its
        request.
        """
        self._closing = True
        self._unset_keepalive_if_required()
        self._cancel_timer()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.abort)
