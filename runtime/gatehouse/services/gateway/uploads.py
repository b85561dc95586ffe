"""Requests with a large body: the response reaches a client that is still sending.

Many HTTP clients read no response before they have sent the whole body. Envoy closes the connection
when a response has ended, and what it has not read of the body resets the connection. Envoy
therefore sends such a request to a worker, which keeps the last byte of the response until the body
has arrived. The worker sends the request back to Envoy, which forwards it, or discards the body of
a denied request, whose response is in a header.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import httptools

from gatehouse.platform import proxy_headers
from gatehouse.platform.envoy.bootstrap import BUFFER_BYTES, SAFE_METHODS
from gatehouse.services.gateway.relay import Side

#: Of a body whose response has ended: number of bytes that are discarded, and maximum time in
#: seconds without data from the client.
BYTES_MAX = 64 << 20
IDLE_S = 10.0

_CLOSE_S = 1.0

_FRAMING = (b"content-length", b"transfer-encoding")


def is_needed(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """True if a request has a body that a client can still be sending when it is responded to.
    HTTP/2 can end a response before the request (RFC 9113, section 8.1).
    """
    length = headers.get(b"content-length", b"")
    if b"expect" in headers:  # the client waits for a response
        return False
    if length.isdigit():
        return BUFFER_BYTES < int(length) <= BYTES_MAX
    return b"chunked" in headers.get(b"transfer-encoding", b"").lower() and (
        method not in SAFE_METHODS
    )


class _CoreSide(Side):
    def eof_received(self) -> bool:
        self.transport.abort()  # Envoy reads no more of the body
        return True


class Upload:
    """One request. egress: socket of Envoy for requests to Cores."""

    def __init__(self, egress: str) -> None:
        self._egress, self._loop = egress, asyncio.get_running_loop()
        self._client, self._core = Side(self), _CoreSide(self)
        self._client.other, self._core.other = self._core, self._client
        self._parser: Any = None
        self._connecting: asyncio.Task[None] | None = None
        self._start = self._kept = b""
        self._is_received = self._has_ended = False
        self._discarded = 0
        self._active_at = 0.0

    def protocol(self) -> asyncio.Protocol:
        return self._client

    def received(self, side: Side, data: bytes) -> None:
        if side is self._core:
            data, self._kept = self._kept + data, b""
            if not self._is_received:
                data, self._kept = data[:-1], data[-1:]
            self._client.transport.write(data)
        elif self._parser is None:
            self._start += data
            if b"\r\n\r\n" in self._start:
                self._begin()
        else:
            self._receive_body(data)

    def lost(self, side: Side) -> None:
        if side is self._core:
            self._end()
            return
        if self._connecting is not None:
            self._connecting.cancel()
        if self._core.transport is not None:
            self._core.transport.abort()

    # Called by the parser

    def on_message_complete(self) -> None:
        self._is_received = True

    def _begin(self) -> None:
        head, _, body = self._start.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")[1:]
        fields = {
            name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)
        }
        self._parser = httptools.HttpRequestParser(self)
        framing = b"".join(
            b"%b: %b\r\n" % (name, fields[name]) for name in _FRAMING if name in fields
        )
        # Envoy accepts methods and paths that the parser does not.
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        if (refusal := fields.get(proxy_headers.REFUSAL)) is not None:
            self._kept = base64.b64decode(refusal)
            self._end()
            self._receive_body(body)
        else:
            self._client.transport.pause_reading()
            self._connecting = self._loop.create_task(self._connect(body))

    async def _connect(self, body: bytes) -> None:
        try:
            await self._loop.create_unix_connection(lambda: self._core, self._egress)
        except OSError:
            self._client.transport.abort()
            return
        if not self._client.is_open:
            self._core.transport.abort()
            return
        self._core.transport.write(self._start[: len(self._start) - len(body)])
        self._client.transport.resume_reading()
        self._receive_body(body)

    def _receive_body(self, data: bytes) -> None:
        if not data:
            return
        self._active_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._is_received = True
        if self._has_ended:
            self._discarded += len(data)
        elif self._core.is_open:
            self._core.transport.write(data)
        if self._is_received or self._discarded > BYTES_MAX:
            self._release()

    def _end(self) -> None:
        """The response has ended. The rest of the body is discarded."""
        self._has_ended, self._active_at = True, self._loop.time()
        if not self._client.is_open:
            return
        if self._is_received:
            self._client.transport.close()
        else:
            self._client.transport.resume_reading()
            self._check_idle()

    def _check_idle(self) -> None:
        pause_s = self._active_at + IDLE_S - self._loop.time()
        if pause_s > 0 and self._client.is_open:
            self._loop.call_later(pause_s, self._check_idle)
        else:
            self._release()

    def _release(self) -> None:
        """Sends the rest of the response. If the client still sends, Envoy closes the connection:
        closed here, it would be reset.
        """
        if not self._client.is_open:
            return
        self._client.transport.write(self._kept)
        self._kept = b""
        if self._is_received and self._has_ended:
            self._client.transport.close()
        elif self._has_ended:  # with a response that is not whole, Envoy would wait
            self._loop.call_later(_CLOSE_S, self._client.transport.abort)
