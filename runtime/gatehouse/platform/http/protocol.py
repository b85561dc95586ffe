"""Handles HTTP/1.1 connections with a deadline for every wait and a limit for every buffer.

llhttp (httptools) parses the requests. This protocol ends connections whose client is idle, sends a
request too slowly or does not read the response. It limits the size of a request head, the number
of connections per worker and per IP address, and the number of request bodies that an IP address
sends at the same time.

Sources: RFC 9110, section 15.5.9 (408); RFC 9112, section 9.6 (closing); RFC 6585 (429, 431).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import httptools

from gatehouse.core.addresses import parse_address
from gatehouse.core.errors import (
    BadRequest,
    GatehouseError,
    HeadersTooLarge,
    RequestTimeout,
    TargetTooLong,
    Unavailable,
)
from gatehouse.platform.http import asgi, request_head
from gatehouse.platform.http.connections import PART_BYTES, Connections
from gatehouse.platform.http.exchange import (
    CLOSE_LINE,
    Connection,
    Exchange,
    error_response,
    response_head,
)
from gatehouse.platform.http.transport import ClientTransport
from gatehouse.platform.settings import BYTES_PER_S_MIN
from gatehouse.platform.tls_records import end_turns, take_turns

#: After an error response, the rest of the request is read and discarded, up to this time and size.
#: Closing the connection immediately would reset it, and the client could lose the response (RFC
#: 9112, section 9.6).
_LINGER_S = 2.0
_LINGER_BYTES_MAX = 262_144

_TARGET_BYTES_MAX = 16_384

#: Maximum size of a request line: the target, and what stands around it.
_LINE_BYTES_MAX = _TARGET_BYTES_MAX + 1024

#: Maximum size of the data that a client sends after an upgrade request, before the response.
_UPGRADE_BYTES_MAX = 4096

#: Heads and chunked bodies are parsed in slices. The first request in a slice is followed by others
#: only if it has a chunked body. When a slice contains a request, the next slices wait for the
#: response, and each request for the next iteration of the event loop, so that other clients are
#: served in the meantime.
_SLICE_BYTES = 1024
_HEAD_END = b"\r\n\r\n"

#: Maximum size of a read that begins with a head or belongs to a chunked body, and therefore of
#: pipelined requests that wait.
_HEAD_READ_BYTES = 16_384

#: A client may send as many bytes of framing, such as chunk extensions, as of the body,
#: CHUNK_FRAMING_BYTES for each chunk, and _FRAMING_BYTES_MAX.
_FRAMING_BYTES_MAX = 4096

#: Maximum number of headers, and maximum sizes in bytes of a header and of all headers, which are
#: those of an Application Load Balancer. Source: AWS, "HTTP header limits" of load balancers.
_HEADERS_MAX = 100
_HEADER_BYTES_MAX = 16_384
_HEAD_BYTES_MAX = 65_536

#: Maximum size of a body without which a request does not begin.
_FIRST_BYTES_MAX = PART_BYTES

#: Size of the end of X-Forwarded-For that an idle connection keeps.
_FORWARDED_BYTES = 1024

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class HttpProtocol(asyncio.BufferedProtocol, Connection):
    """One connection. A client that exceeds a limit receives a problem document, and the connection
    is closed.
    """

    # Attributes of the class are the initial values, which saves memory of idle connections.
    _peer, _scheme = "", "http"
    _client: tuple[str, int] | None = None
    _server: tuple[str, int] | None = None
    _in_head = _is_upgrade = False
    #: Size of the data with the current head or trailers, which can contain other data.
    _head_bytes = 0
    #: Size of the slices with parts of the current head, without the last one.
    _later_bytes = 0
    #: Bytes of an unfinished request that count in the memory for bodies.
    _counted: tuple[str, int] = ("", 0)
    _url = b""
    #: Data with the current request line, until the protocol has been checked.
    _line = b""
    #: Data that waits for the responses to earlier requests.
    _later = b""
    #: The request whose end has not been received.
    _receiving: Exchange | None = None
    #: Network of the client under which the unfinished body is counted.
    _body_network: str | None = None
    #: Bytes of the body that were received since the last check of its speed.
    _body_received = 0
    _body_paused = _is_chunked = False
    #: Bytes of a body with a Content-Length that have not been received.
    _body_left = 0
    _framing_bytes = 0
    #: The error response to a pipelined request, which is sent after the responses to earlier
    #: requests.
    _error: GatehouseError | None = None
    _closing = False
    _discarded = 0
    #: Deadline for the head, the body, or a connection that is closing.
    _timer: asyncio.TimerHandle | None = None
    #: Time at which the connection became idle; None while a request is received or answered.
    _idle_since: float | None = None
    #: Is started once per idle timeout, because starting a timer for each request takes longer.
    _idle_timer: asyncio.TimerHandle | None = None
    _stopping = False
    #: Data after an upgrade request; None if there is no such request.
    _upgrade_data: bytearray | None = None
    #: Protocol of the connection after an accepted upgrade.
    _upgraded: asyncio.BufferedProtocol | None = None
    _on_shutdown: Callable[[], None] | None = None

    def __init__(self, app: asgi.App, worker: Connections, app_state: dict[str, Any]) -> None:
        """app_state: copied to the scope of each request."""
        self._app = app
        self.worker = worker
        self._app_state = app_state
        self._settings = worker.settings
        self._loop = asyncio.get_running_loop()
        #: Fields of the current head or trailers.
        self._headers: list[asgi.Header] = []
        #: Parts of the body that the parser has found in the current slice.
        self._body: list[bytes] = []
        #: Requests without a complete response, in order. The first one has been started, except
        #: while data is parsed.
        self._exchanges: list[Exchange] = []

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        take_turns(transport)
        self._parser = httptools.HttpRequestParser(self)
        peer, name = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self._peer = str(parse_address(peer[0]) or peer[0])
            self._client = (self._peer, peer[1])
        is_tls = transport.get_extra_info("sslcontext") is not None
        self.transport = ClientTransport(
            cast("asyncio.Transport", transport), self.worker, self._peer, is_tls=is_tls
        )
        self._server = name[:2] if isinstance(name, tuple) else None
        self._scheme = "https" if is_tls else "http"
        self.waits_since = self._loop.time()
        try:
            self.worker.open(self._peer)
        except GatehouseError as exc:
            self._reject(exc)
        else:
            self._set_timer(self._head_timeout)
        self.worker.protocols.add(self)

    @property
    def network(self) -> str:
        return self._body_network or self.transport.network

    @property
    def client(self) -> str:
        """The network of the client of a request in progress. Empty after an upgrade."""
        if self._upgraded is not None:
            return ""
        is_proxied = self._exchanges and self.worker.addresses.trusts(self.transport.peer)
        return self.worker.network_of(self._exchanges[0].scope) if is_proxied else self.network

    @property
    def is_waiting(self) -> bool:
        """False while a request is in progress that was received or whose response has begun,
        unless its client only has to read the rest of a response that has ended.
        """
        in_progress = any(each.is_received or each.response_started for each in self._exchanges)
        return self._upgraded is None and (self.transport.is_closing or not in_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.protocols.discard(self)
        end_turns(self.transport.transport)
        self.worker.close(self._peer)
        self._end_body()
        self._cancel_timers()
        self._receiving, self._in_head, self._later = None, False, b""
        self._count_unfinished()
        exchanges, self._exchanges = self._exchanges, []
        for exchange in exchanges:
            exchange.disconnect()
        self.transport.lost()
        if self._upgrade_data is not None or self._upgraded is not None:
            self._end_upgrade(exc)
        del self._parser  # refers to this object, which is freed without garbage collection then

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._upgraded is not None:
            return cast("memoryview", self._upgraded.get_buffer(sizehint))
        is_body = self._receiving is not None and not self._is_chunked
        size = self.worker.part_bytes if is_body else _HEAD_READ_BYTES
        return self.worker.reads.begin(size)

    def buffer_updated(self, nbytes: int) -> None:
        if self._upgraded is not None:
            self._upgraded.buffer_updated(nbytes)
            return
        self.data_received(bytes(self.worker.reads.buffer[:nbytes]))
        if self._upgrade_data is None:
            transport = self.transport
            # A client whose connection is closing must not delay others of its network.
            subject = "" if self._closing else self.network
            self.worker.reads.end(
                nbytes, transport.transport, lambda: transport.read_paused, subject
            )

    def data_received(self, data: bytes) -> None:
        if self._closing or self._error is not None or self.transport.is_closing:
            self._discard(len(data))
        elif self._upgrade_data is not None:
            self._add_upgrade_data(data)
        elif self._later:
            self._later += data
            self.transport.pause_reading()
            try:
                self._count_unfinished()
            except GatehouseError as exc:
                self._reject(exc)
        else:
            self._idle_since = None
            if self._receiving is not None:
                self._body_received += len(data)
                if self._receiving.response_complete:
                    self._discard(len(data))
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        self._head_bytes += len(data)
        has_deadline = False
        try:
            self._feed(data)
            if self._headers or self._in_head:
                self._check_size()
            if self._in_head and (self._headers or len(self._line) > _LINE_BYTES_MAX):
                self._check_protocol()
                self._line = b""
            if self._in_head or self._receiving is not None or self._later or self._counted[1]:
                self._count_unfinished()
            has_deadline = self._upgrade_data is None
        except GatehouseError as exc:
            self._reject(exc)
        except httptools.HttpParserError as exc:
            cause = exc.__context__
            invalid = BadRequest("The request is not valid HTTP/1.1.")
            self._reject(cause if isinstance(cause, GatehouseError) else invalid)
        self._start_exchange()
        if has_deadline:
            self._set_deadline()
        if not self._in_head:
            self._line = b""

    def _feed(self, data: bytes) -> None:
        """Parses data in slices, until a request waits for the response to an earlier one. Raises
        GatehouseError and HttpParserError.
        """
        start = 0
        while start < len(data):
            exchange, part = self._receiving, data
            if exchange is None:
                end = start + _SLICE_BYTES
                part = data[start:end]
                head, separator, rest = part.partition(_HEAD_END)
                if _HEAD_END in rest or request_head.names_protocol(part):
                    part = head + separator  # without what follows
            elif self._is_chunked:
                part = data[start : start + _SLICE_BYTES]
            elif start or self._body_left < len(data):
                part = data[start : start + self._body_left]
            self._line = self._line + part if self._in_head else part
            head_without_upgrade = b""
            try:
                self._parser.feed_data(part)
            except httptools.HttpParserUpgrade as exc:
                part = part[: exc.args[0]]
                if self._is_upgrade:
                    # The data after the request is not HTTP, even if the application rejects the
                    # upgrade.
                    self._upgrade_data = bytearray()
                    self._add_upgrade_data(data[start + len(part) :])
                    return
                head_without_upgrade = self._head_without_upgrade()
            if head_without_upgrade:
                self._parser.feed_data(head_without_upgrade)
            self._pass_body()
            start += len(part)
            self._later_bytes += len(part)
            if self._is_chunked and exchange is not None and exchange is self._receiving:
                self._check_framing(len(part))
            if start < len(data) and self._is_waiting():
                self._later = data[start:]
                self.transport.pause_reading()
                return

    def _is_waiting(self) -> bool:
        """True if the first request has been received, and waits for its response."""
        return bool(self._exchanges) and self._receiving is not self._exchanges[0]

    def _parse_later(self) -> None:
        data, self._later = self._later, b""
        if data and not self.transport.is_closing:
            self._parse(data)
            self._resume_reading()

    def _count_unfinished(self) -> None:
        """Counts the data of requests that have not begun, for the client that sent the head or, in
        the head, the peer. Raises TooManyRequests and Unavailable.
        """
        size, receiving = len(self._later), self._receiving
        if self._in_head:
            size += self._later_bytes
        elif receiving is not None and (receiving.begins_with_body or len(self._exchanges) > 1):
            size += receiving.waiting_bytes
        (before, counted), network = self._counted, self._body_network or self._network()
        self._counted = network, size
        if network != before:
            self.worker.count_bytes(self, before, -counted)
            counted = 0
        if size != counted:
            self.worker.count_bytes(self, network, size - counted)

    def _network(self) -> str:
        """The network of the client of the current request or, in its head, of the peer."""
        if self._receiving is None:
            return self.transport.network
        return self.worker.network_of(self._receiving.scope)

    def _head_without_upgrade(self) -> bytes:
        """The head of a request whose upgrade is ignored, for a new parser: the parser does not
        read the body of a request for an upgrade.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        self._parser = httptools.HttpRequestParser(self)
        fields = [field for field in self._headers if field[0] != b"upgrade"]
        lines = asgi.encode_headers(fields)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, lines)

    def _set_deadline(self) -> None:
        if self._receiving is not None:
            if self.transport.read_paused:
                self._body_paused = True
            if self._body_network is None:
                self._begin_body()
        elif self._timer is None and (
            self._in_head or (self._idle_since is None and not self._exchanges)
        ):
            self._set_timer(self._head_timeout)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _LINGER_BYTES_MAX:
            self.transport.close()

    def _set_timer(self, callback: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(self._settings.request_timeout_s, callback)

    def _cancel_timers(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    # Head

    def on_message_begin(self) -> None:
        self._idle_since = None
        self._in_head, self._is_upgrade = True, False
        self._later_bytes = self._discarded = 0
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > _TARGET_BYTES_MAX:
            raise TargetTooLong(f"The request target is longer than {_TARGET_BYTES_MAX} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def _check_size(self) -> None:
        """Raises HeadersTooLarge."""
        sizes = [0]
        if self._head_bytes > _HEADER_BYTES_MAX:
            sizes = [len(name) + len(value) for name, value in self._headers] or sizes
        if (
            len(self._headers) > _HEADERS_MAX
            or max(sizes) > _HEADER_BYTES_MAX
            or sum(sizes) > _HEAD_BYTES_MAX
            or (self._in_head and self._later_bytes > _TARGET_BYTES_MAX + _HEAD_BYTES_MAX)
        ):
            raise HeadersTooLarge(
                f"The request has more than {_HEADERS_MAX} headers or {_HEAD_BYTES_MAX} bytes of "
                f"headers, or a header with more than {_HEADER_BYTES_MAX} bytes."
            )

    def _check_protocol(self) -> None:
        """Raises BadRequest and TargetTooLong."""
        line = self._line
        if len(line) > _LINE_BYTES_MAX and b"\n" not in line.lstrip()[:_LINE_BYTES_MAX]:
            raise TargetTooLong(f"The request line is longer than {_LINE_BYTES_MAX} bytes.")
        request_head.check_protocol(line, self._parser.get_method(), self._url)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._check_protocol()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._check_size()
        parser, fields = self._parser, self._headers
        version, method = parser.get_http_version(), parser.get_method()
        if parser.should_upgrade():
            self._is_upgrade = request_head.is_upgrade(method, fields)
            if not self._is_upgrade:
                return  # `_parse` ignores the upgrade (RFC 9110, section 7.8)
        #: The last value of each field.
        values = dict(fields)
        request_head.check(version, self._url, fields, values)
        path, query = request_head.target(self._url, fields)
        scope: asgi.Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": method.decode("ascii"),
            "root_path": "",
            "path": path.decode("ascii"),  # as received: no application needs it decoded
            "raw_path": path,
            "query_string": query,
            "headers": fields,
            "state": self._app_state.copy(),
        }
        if self._is_upgrade:
            scope["extensions"] = {asgi.UPGRADE: self._accept_upgrade}
        is_1_1, expected = version == "1.1", values.get(b"expect")
        exchange = self._receiving = Exchange(
            self,
            scope,
            values,
            keep_alive=is_1_1 and not self._is_upgrade and parser.should_keep_alive(),
            # A client with HTTP/1.0 does not know status 100 (RFC 9110, section 10.1.1).
            expects_continue=is_1_1
            and expected is not None
            and expected.lower() == b"100-continue",
        )
        length = values.get(b"content-length")
        if length and not expected:
            exchange.begins_with_body = len(length) < 6 and int(length) <= _FIRST_BYTES_MAX
        self._body_left = int(length) if length else 0
        self._is_chunked, self._framing_bytes = b"transfer-encoding" in values, 0
        self._headers, self._head_bytes, self._url = [], 0, b""
        if self._exchanges:
            self.transport.pause_reading()
        self._exchanges.append(exchange)
        self.transport.forwarded_for = values.get(b"x-forwarded-for", b"")[-_FORWARDED_BYTES:]

    def _head_timeout(self) -> None:
        self._timer = None
        if self._exchanges:  # the client is still being served
            self._set_timer(self._head_timeout)
        elif self._in_head:
            self._reject(RequestTimeout("The headers of the request were not received in time."))
        else:
            self.transport.close()

    # Body

    def _check_framing(self, size: int) -> None:
        """Raises BadRequest. size: of the data with parts of the body."""
        self._framing_bytes = max(0, self._framing_bytes + size)
        if self._framing_bytes > _FRAMING_BYTES_MAX:
            raise BadRequest("The chunk extensions are too long.")

    def on_body(self, body: bytes) -> None:
        if self._is_chunked:
            self._framing_bytes -= 2 * len(body) + request_head.CHUNK_FRAMING_BYTES
        else:
            self._body_left -= len(body)
        self._body.append(body)

    def _pass_body(self) -> None:
        """Passes the chunks of a slice together, which takes a third of the time."""
        if self._body:
            body, self._body = b"".join(self._body), []
            if self._receiving is not None:
                self._receiving.receive_body(body)

    def on_message_complete(self) -> None:
        self._pass_body()
        if self._receiving is not None and self._headers:  # trailers, which are discarded
            self._check_size()
            self._headers = []
        exchange, self._receiving = self._receiving, None
        self._end_body()
        if exchange is not None:
            exchange.end_request()

    def _begin_body(self) -> None:
        """Starts the checks of the speed of a body that was not received completely together with
        the head.
        """
        self._body_network = self._network()
        self._start_check()
        try:
            self.worker.open_body(self._body_network)
        except GatehouseError as exc:
            self._reject(exc)

    def _end_body(self) -> None:
        if self._body_network is not None:
            self.worker.close_body(self._body_network)
            self._body_network = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _check_body_speed(self) -> None:
        """Ends a request whose body was slower than BYTES_PER_S_MIN since the last check, unless
        reading was paused.
        """
        self._timer = None
        bytes_min = self._settings.request_timeout_s * BYTES_PER_S_MIN
        if self._body_paused or self._body_received >= bytes_min:
            self._body_paused = self.transport.read_paused
            self._start_check()
        else:
            self._reject(RequestTimeout("The body of the request was not received in time."))

    def _start_check(self) -> None:
        self._body_received, self.waits_since = 0, self._loop.time()
        self._set_timer(self._check_body_speed)

    # Responses

    def _start_exchange(self) -> None:
        """Starts the first request when the client has read the responses to earlier ones. A
        request with a small body starts when the body has been received.
        """
        if not self._exchanges or self.transport.is_closing or self.transport.write_paused:
            return
        exchange = self._exchanges[0]
        if not (exchange.is_started or (exchange.begins_with_body and not exchange.is_received)):
            exchange.is_started = True
            self.worker.start(exchange.scope, partial(self._call, exchange))

    def _call(self, exchange: Exchange) -> None:
        """Starts the first request, unless it has ended while it waited for others."""
        if exchange in self._exchanges[:1] and not self.transport.is_closing:
            is_not_ready = self.worker.draining and exchange.scope["path"] == asgi.READY_PATH
            exchange.call(_not_ready if is_not_ready else self._app)

    def has_more(self) -> bool:
        return len(self._exchanges) > 1 or bool(self._later)

    def end_exchange(self, exchange: Exchange) -> None:
        self._exchanges.pop(0)
        if not exchange.keep_alive:
            self._end_connection(exchange)
        elif self._later and not self._is_waiting():
            self._loop.call_soon(self._parse_later)
            return
        elif self._exchanges:
            self._loop.call_soon(self._start_exchange)
        elif self._error is not None:
            self._send_error(self._error)
        elif self._stopping:
            self.transport.close()
        else:
            loop = self._loop
            self._idle_since = self.waits_since = loop.time()
            if self._idle_timer is None:
                self._idle_timer = loop.call_later(self._settings.idle_timeout_s, self._end_idle)
        if self.transport.read_paused:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if len(self._exchanges) <= 1 and not self._later:
            self.transport.resume_reading()

    def _end_connection(self, exchange: Exchange) -> None:
        if self._receiving is exchange:
            self._end_body()
            self._linger()
        else:
            self.transport.close()

    def _end_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return
        remaining = self._idle_since + self._settings.idle_timeout_s - self._loop.time()
        if remaining > 0:
            self._idle_timer = self._loop.call_later(remaining, self._end_idle)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Called when the server stops. A request that is not complete is still answered."""
        self._stopping = True
        if self._on_shutdown is not None:
            self._on_shutdown()
        elif not (self._in_head or self._exchanges or self._later):
            self.transport.close()

    def pause_writing(self) -> None:
        self.transport.pause_writing()
        if self._upgraded is not None:
            self._upgraded.pause_writing()

    def resume_writing(self) -> None:
        self.transport.resume_writing()
        if self._upgraded is not None:
            self._upgraded.resume_writing()
        else:
            self._start_exchange()

    # Upgrade

    def _add_upgrade_data(self, data: bytes) -> None:
        """Stores data that the client sends before the upgrade is accepted. Clients have to wait
        for the response (RFC 6455, section 4.1), so the amount is limited."""
        if self._upgrade_data is not None:
            self._upgrade_data += data
            if len(self._upgrade_data) > _UPGRADE_BYTES_MAX:
                self.transport.transport.abort()

    def _accept_upgrade(
        self,
        headers: list[asgi.Header],
        protocol: asyncio.BufferedProtocol,
        on_shutdown: Callable[[], None],
    ) -> bytes:
        if self._upgrade_data is None or self.transport.is_closing:
            raise asgi.ClientGone
        if self._scheme == "https" and self.transport.write_paused:
            raise Unavailable("The responses to earlier requests have not been read.")
        if self._stopping:
            raise Unavailable("The server is stopping.")
        exchange = self._exchanges.pop(0)
        exchange.response_started = exchange.response_complete = True
        exchange.end()
        self.transport.resume_reading()
        lines = asgi.encode_headers(headers)
        self.transport.write(response_head(101, self.worker.date_line(), lines) + b"\r\n")
        data, self._upgrade_data = bytes(self._upgrade_data), None
        self._upgraded, self._on_shutdown = protocol, on_shutdown
        protocol.connection_made(self.transport.transport)
        if self.transport.write_paused:
            protocol.pause_writing()
        return data

    def _end_upgrade(self, exc: Exception | None) -> None:
        """Removes the references to this object, so that it is freed without garbage collection."""
        protocol, self._upgraded, self._on_shutdown = self._upgraded, None, None
        if protocol is not None:
            protocol.connection_lost(exc)

    # Errors

    def _reject(self, error: GatehouseError) -> None:
        """Sends an error response to the current request, after the responses to earlier requests,
        and closes the connection.
        """
        error.__traceback__ = None  # refers to the data, this object and the error
        self.worker.on_reject(error, self._peer)
        exchange, self._receiving = self._receiving, None
        self._in_head, self._headers, self._later = False, [], b""
        self._line = self._url = b""
        self._parser = httptools.HttpRequestParser(self)  # the old one holds the unfinished head
        self._count_unfinished()
        self._end_body()
        if exchange is not None:
            if exchange.response_complete:
                self.transport.close()
                return
            self._exchanges.remove(exchange)
            exchange.rejection = error
            exchange.disconnect()
            if exchange.response_started:
                self.transport.transport.abort()
                return
        if self._exchanges:
            self._error = error
        else:
            self._send_error(error)

    def reject_unfinished(self, error: GatehouseError) -> bool:
        if self._receiving is None and not (self._in_head or self._later):
            return False
        self._reject(error)
        return True

    def _send_error(self, error: GatehouseError) -> None:
        response = error_response(error)
        lines = asgi.encode_headers(response.headers) + CLOSE_LINE
        head = response_head(response.status, self.worker.date_line(), lines)
        self.transport.write(b"%b\r\n%b" % (head, response.body))
        self._linger()

    def _linger(self) -> None:
        """Ends the responses, and closes the connection when the client has sent the rest of its
        request.
        """
        transport = self.transport.transport
        self.worker.writes.flush()
        self._closing, self.waits_since = True, 0.0  # makes room before others
        self._cancel_timers()
        self.transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        self._timer = self._loop.call_later(_LINGER_S, transport.abort)


async def _not_ready(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await asgi.reply(send, 503, b'{"status":"unavailable","checks":{"server":"unavailable"}}')
