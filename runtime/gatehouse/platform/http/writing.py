"""Writes complete responses to connections, and ends connections whose client does not read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gatehouse.platform.http import asgi
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.settings import BYTES_PER_S_MIN


class WritingProtocol(HttpToolsProtocol):
    """A client has to read at least BYTES_PER_S_MIN. Complete responses are written together with
    those of other connections of the worker; the responses of ASGI applications are written
    immediately, in a later callback."""

    _worker: Connections
    _write_timer: asyncio.TimerHandle | None = None
    _unsent = 0

    def connection_lost(self, exc: Exception | None) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None

    def _write(
        self, response: asgi.Response | asgi.EncodedResponse, more_lines: bytes = b""
    ) -> None:
        """Writes a complete response, with the same headers as uvicorn."""
        worker, default_headers = self._worker, self.server_state.default_headers
        if worker.default_headers is not default_headers:
            worker.set_default_headers(default_headers)
        lines = (
            response.header_lines
            if isinstance(response, asgi.EncodedResponse)
            else asgi.encode_headers(response.headers)
        )
        data = b"".join(
            (
                STATUS_LINE[response.status],
                worker.default_lines,
                lines,
                more_lines,
                b"\r\n",
                response.body,
            )
        )
        worker.writes.add(self.transport, data)

    def _close(self) -> None:
        """Closes the connection after the responses that have been written."""
        self._worker.writes.flush()
        self.transport.close()

    def _watch_writing(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        if self._unsent and self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self._worker.settings.response_timeout_s, self._write_timeout
            )

    def _write_timeout(self) -> None:
        self._write_timer = None
        unsent = self.transport.get_write_buffer_size()
        if (
            unsent
            and self._unsent - unsent < self._worker.settings.response_timeout_s * BYTES_PER_S_MIN
        ):
            self.transport.abort()
        else:
            self._watch_writing()


class TransportOfCycle:
    """What uvicorn's cycle uses of a transport, with another way to close the connection."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close
