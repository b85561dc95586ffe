"""HTTP/1.1 connections to one address of a Core: a pool, streaming in both directions, and a bound
for every wait and buffer.

llhttp (httptools) parses the responses in its strict mode: it rejects responses that two clients
could frame differently.
Sources: RFC 9110, sections 9.3.2 (HEAD) and 15.2 (1xx); RFC 9112, sections 6.3 (message body
    length) and 9.3 (persistence).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from typing import cast

import httptools

from gatehouse.core.errors import (
    BadRequest,
    CoreOverloaded,
    CoreTimeout,
    CoreUnreachable,
    Unavailable,
)
from gatehouse.platform.batched_writes import BatchedWrites
from gatehouse.platform.http.listening import limit_unsent, reset_at_close
from gatehouse.platform.http.request_head import CHUNK_FRAMING_BYTES, LENGTH_DIGITS_MAX
from gatehouse.platform.tls_records import end_turns, established, limit, take_turns
from gatehouse.platform.turns import SMALL_READ_BYTES, Reads

CONNECT_TIMEOUT_S = 3.0

#: The next request of a worker closes connections that have been idle for longer than this time.
#: Beyond the maximum number, one to the URL with the most is closed, so that many requests to one
#: Core do not close the connections to others.
IDLE_S = 20.0
IDLE_MAX = 256

#: Maximum size of the headers of a response, in bytes, as for an Application Load Balancer, and
#: maximum number of headers.
RESPONSE_HEAD_BYTES_MAX = 32_768
RESPONSE_HEADERS_MAX = 200

#: A response may contain as many bytes of framing (interim responses, headers, chunk extensions,
#: trailers) as of the body, CHUNK_FRAMING_BYTES for each chunk, and about _FRAMING_BYTES_MAX.
_FRAMING_BYTES_MAX = 131_072

#: Maximum size of a read. Reading then pauses until the client has read the data.
READ_BYTES = 131_072

#: After a read with this number of chunks, further reads of the response are small: the event loop
#: parses all chunks of a read before it serves other clients.
_PARTS_MAX = 1000


class Connection(asyncio.BufferedProtocol):
    """A connection, which serves one request at a time: `start`, `wait_for_head`, then `read` until
    the end of the body.
    """

    def __init__(self, writes: BatchedWrites, reads: Reads) -> None:
        """writes: performs the writes of requests. reads: shared by connections."""
        self._timeout_s, self._sender = 0.0, ""
        self._writes = writes
        self._reads = reads
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._upload: asyncio.Task[None] | None = None
        self._active_at = 0.0
        self.idle_since = 0.0
        #: Of the response, after `wait_for_head`.
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._parser: httptools.HttpResponseParser
        self._in_use = False
        self._is_head = False
        self._upgrade = False
        self._upgrade_data = b""
        self._has_data = False
        self._head_bytes = 0
        self._framing_bytes = 0
        self._has_head = False
        self._until_close = False
        self._keep_alive = False
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._is_fragmented = False
        self._paused = False
        self._complete = False
        self._error: BaseException | None = None

    # Requests

    def start(
        self,
        method: str,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        length: int | None = None,
        upgrade: bool = False,
        timeout_s: float,
        sender: str = "",
    ) -> None:
        """Sends a request. Call `end` after the response, even if this function raises.

        length: of a streamed body; None for the chunked transfer coding. upgrade: the response may
        have status 101; then call `upgrade` after `wait_for_head`. timeout_s: maximum time in which
        neither the Core sends data nor the client sends a part of the body. sender: the reads of
        senders take turns. Raises CoreUnreachable.
        """
        self._in_use, self._is_head, self._upgrade = True, method == "HEAD", upgrade
        self._has_data = self._has_head = self._complete = self._is_fragmented = False
        if self._chunks:
            self.take()
        self._active_at = self._loop.time()
        if timeout_s < self._timeout_s:
            self._cancel_timer()
        self._timeout_s, self._sender = timeout_s, sender
        if self._timer is None:
            self._timer = self._loop.call_later(timeout_s, self._check_timeout)
        if self._transport is None:
            raise CoreUnreachable(detail="connection closed")
        if body is None:
            self._writes.add(self._transport, head)
        elif isinstance(body, bytes):
            self._writes.add(self._transport, head + body)
        else:
            self._writes.add(self._transport, head)
            self._upload = self._loop.create_task(self._send_body(body, length), name="core-upload")

    async def wait_for_head(self) -> None:
        """Waits for `status` and `headers` of the response. Raises CoreUnreachable, CoreTimeout,
        and the errors of a streamed body."""
        while not self._has_head:
            self._raise_error()
            await self._wait()

    @property
    def is_complete(self) -> bool:
        return self._complete and self._error is None

    async def read(self) -> bytes | None:
        """The next part of the body; None at the end. Raises CoreUnreachable, CoreTimeout, and the
        errors of a streamed body.
        """
        while not self._chunks:
            if self._complete:
                return None
            self._raise_error()
            await self._wait()
        return self.take()

    async def read_all(self) -> bytes:
        """The whole body. Raises the errors of `read`."""
        parts = []
        while (part := await self.read()) is not None:
            parts.append(part)
        return b"".join(parts)

    def take(self) -> bytes:
        """The part of the body that has been received and not been read."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        return data

    def upgrade(self, protocol: asyncio.BaseProtocol) -> bytes:
        """Passes the connection to another protocol after a 101 response, with reading paused.
        Returns the data that the Core sent after the response. Raises CoreUnreachable."""
        self._raise_error()
        if self._transport is None:
            raise CoreUnreachable(detail="connection closed")
        self._cancel_timer()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        del self._parser  # refers to this object, which is freed without garbage collection then
        return self._upgrade_data

    def end(self) -> bool:
        """Ends the request. Returns True if the connection can serve another request; otherwise,
        the connection is closed.
        """
        self._in_use = False
        self.idle_since = time.monotonic()
        reusable = (
            self._complete
            and self._keep_alive
            and self._error is None
            and self._transport is not None
            and self._writable is None  # a request that the Core does not read stays in memory
        )
        if self._upload is not None:
            reusable = reusable and self._upload.done()
            self._upload.cancel()
            self._upload = None
        if not reusable:
            if self._transport is not None and self.status != 101:
                reset_at_close(self._transport)
            self.close()
            self._error = None  # refers to this object
        return reusable

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _send_body(self, body: AsyncIterator[bytes], length: int | None) -> None:
        """A body of another length would change the framing of the next request."""
        chunked, sent = length is None, 0
        try:
            async for data in body:
                sent += len(data)
                if length is not None and sent > length:
                    break
                if self._transport is None:
                    return
                self._active_at = self._loop.time()
                self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                del data
                while self._writable is not None:  # before the next part takes memory
                    await self._writable
            if length not in (None, sent):
                raise BadRequest("The body of the request does not have the declared length.")
            if chunked and self._transport is not None:
                self._transport.write(b"0\r\n\r\n")
        except Exception as exc:
            self._fail(exc)

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # the kernel has a buffer
        take_turns(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reads.begin(SMALL_READ_BYTES if self._is_fragmented else READ_BYTES)

    def buffer_updated(self, nbytes: int) -> None:
        data = self._reads.buffer[:nbytes]
        self._active_at = self._loop.time()
        if not self._in_use or self._complete:
            self._keep_alive = False
            self.close()  # the Core sent more than the response
            return
        if not self._has_data:
            self._has_data = True
            self._parser = httptools.HttpResponseParser(self)
            self.status, self.headers, self._head_bytes = 0, [], 0
            self._framing_bytes = 0
        waiting_bytes, chunks = self._waiting_bytes, len(self._chunks)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade_data = bytes(data[exc.args[0] :])
            if self._transport is not None:
                self._transport.pause_reading()
        except httptools.HttpParserError as exc:
            cause = exc.__context__
            self._fail(
                cause
                if isinstance(cause, CoreUnreachable)
                else CoreUnreachable(detail="invalid response")
            )
        if self.status != 101 and not self._complete:
            chunks = len(self._chunks) - chunks
            body_bytes = self._waiting_bytes - waiting_bytes
            self._check_framing(nbytes - 2 * body_bytes - CHUNK_FRAMING_BYTES * chunks)
            if self._chunks and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        if self._chunks:
            self._chunks = [b"".join(self._chunks)]  # a chunk takes more memory than its bytes
        if self.status != 101 and self._transport is not None:
            # After a complete response, the next one can be that of another sender.
            self._reads.end(
                nbytes, self._transport, lambda: self._paused or self._complete, self._sender
            )

    def _check_framing(self, size: int) -> None:
        """Limits the framing of a response, and the number of chunks of a read. size: bytes of a
        read, without those that its body allows.
        """
        self._framing_bytes = max(self._framing_bytes + size, 0)
        if self._framing_bytes > _FRAMING_BYTES_MAX:
            self._fail(CoreUnreachable(detail="the framing of the response is too large"))
        elif len(self._chunks) >= _PARTS_MAX:
            self._is_fragmented = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            end_turns(self._transport)
        self._transport = None
        self.__dict__.pop("_parser", None)  # refers to this object
        self._cancel_timer()
        if self._in_use and not self._complete:
            if self._has_head and self._until_close and exc is None:
                self._complete = True
            else:
                self._fail(CoreUnreachable(detail="connection closed"))
        self.resume_writing()
        self._wake()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # Response parser

    def on_message_begin(self) -> None:
        self._check_incomplete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # trailers are discarded
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > RESPONSE_HEAD_BYTES_MAX or len(self.headers) >= RESPONSE_HEADERS_MAX:
            raise CoreUnreachable(detail="the headers of the response are too large")
        text = name.decode("ascii").lower()
        if text == "content-length":
            if len(value) > LENGTH_DIGITS_MAX:
                raise CoreUnreachable(detail="invalid response")
            value = b"%d" % int(value)  # without zeros at the beginning and spaces at the end
        self.headers.append((text, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status == 101:
            if not self._upgrade:
                # A client that received 101 would send another protocol over the connection.
                raise CoreUnreachable(detail="unexpected status 101")
            self._has_head = True
            self._wake()
            return
        if self.status < 100:  # it has a body, which would become a part of the next response
            raise CoreUnreachable(detail="invalid response")
        if self.status < 200:
            self.headers = []
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._has_head = True
        if self._is_head:
            self._complete = True
        elif self.status not in (204, 304):
            framing = [
                value
                for name, value in self.headers
                if name in ("content-length", "transfer-encoding")
            ]
            self._until_close = not framing
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._check_incomplete()
        self._chunks.append(body)
        self._waiting_bytes += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        if self._has_head and self.status != 101:
            self._complete = True
            self._wake()

    def _check_incomplete(self) -> None:
        """Raises CoreUnreachable after the end of the response. The response is valid, but its
        connection is not used again.
        """
        if self._complete:
            raise CoreUnreachable(detail="data after the response")

    # Waiting

    async def _wait(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._active_at = self._loop.time()
            self._transport.resume_reading()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._wake()
        self.close()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_timeout(self) -> None:
        """Also called between requests, because starting a timer for each request would take
        longer.
        """
        self._timer = None
        if not self._in_use:
            return
        now = self._loop.time()
        if self._paused:
            self._active_at = now  # the client has not read the response
        remaining = self._active_at + self._timeout_s - now
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check_timeout)
        else:
            self._fail(CoreTimeout(detail="no data from the Core"))


@dataclass(slots=True, eq=False)
class ConnectionPool:
    """Connections to one address. With TLS, the certificate must be valid for the host.

    _writes, _reads: see `Connection`. _all_idle: the idle connections of the worker with their
    pools, beginning with the longest idle time.
    """

    _address: str
    _port: int
    _tls: bool
    _host: str
    _writes: BatchedWrites
    _reads: Reads
    _all_idle: OrderedDict[Connection, ConnectionPool]
    _idle: dict[Connection, None] = field(default_factory=dict)
    _in_use: set[Connection] = field(default_factory=set)
    _retired: bool = False

    def acquire_idle(self, now: float) -> Connection | None:
        """An idle connection, or None if there is none. `release` is valid even if no request was
        sent. now: monotonic clock.
        """
        while self._all_idle:
            oldest, pool = next(iter(self._all_idle.items()))
            if oldest.idle_since > now - IDLE_S:
                break
            pool.close_idle(oldest)
        while self._idle:
            connection, _ = self._idle.popitem()
            del self._all_idle[connection]
            if connection.is_open:
                self._in_use.add(connection)
                return connection
        return None

    def release(self, connection: Connection) -> None:
        self._in_use.discard(connection)
        if not connection.end():
            return
        self._idle[connection], self._all_idle[connection] = None, self
        if self._retired:
            self.close_idle(connection)
        elif len(self._all_idle) > IDLE_MAX:
            pools = dict.fromkeys(self._all_idle.values())
            max(pools, key=ConnectionPool.number_idle).close_oldest()

    @property
    def is_used(self) -> bool:
        return bool(self._in_use)

    def retire(self) -> None:
        self._retired = True
        for connection in tuple(self._idle):
            self.close_idle(connection)

    def close(self) -> None:
        self.retire()
        for connection in self._in_use:
            connection.close()

    def number_idle(self) -> int:
        return len(self._idle)

    def close_oldest(self) -> None:
        self.close_idle(next(iter(self._idle)))

    def close_idle(self, connection: Connection) -> None:
        del self._idle[connection], self._all_idle[connection]
        connection.close()

    async def connect(
        self, handshake: AbstractAsyncContextManager[object], *steps: asyncio.Semaphore
    ) -> Connection:
        """A new connection. handshake: limits those with TLS. steps: see `established`. Raises
        CoreUnreachable, and CoreOverloaded after the wait for others.
        """
        try:
            async with (
                handshake if self._tls else nullcontext(),
                asyncio.timeout(CONNECT_TIMEOUT_S),
            ):
                connection = await self._connected(*steps)
        except Unavailable as exc:
            raise CoreOverloaded from exc
        except (OSError, TimeoutError) as exc:
            raise CoreUnreachable(detail=f"no connection: {type(exc).__name__}") from exc
        self._in_use.add(connection)
        return connection

    async def _connected(self, *steps: asyncio.Semaphore) -> Connection:
        loop, create = asyncio.get_running_loop(), partial(Connection, self._writes, self._reads)
        if not self._tls:
            transport, connection = await loop.create_connection(create, self._address, self._port)
            limit_unsent(transport.get_extra_info("socket"))
            return connection
        sock = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            limit_unsent(sock)
            await loop.sock_connect(sock, (self._address, self._port))
            context = await established(sock, _tls_context(), self._host, *steps)
        except BaseException:
            sock.close()
            raise
        _, connection = await loop.create_connection(
            create, sock=sock, ssl=context, server_hostname=self._host
        )
        return connection


@cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    limit(context)
    return context
