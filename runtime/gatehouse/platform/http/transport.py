"""The transport of a client's connection: flow control in both directions, and a deadline for the
client to read.
"""

from __future__ import annotations

import asyncio

from gatehouse.platform.http.connections import Connections
from gatehouse.platform.settings import BYTES_PER_S_MIN


class ClientTransport:
    """A client has to read at least BYTES_PER_S_MIN. `send` writes together with the responses of
    other connections of the worker, `write` immediately.
    """

    __slots__ = (
        "_timer",
        "_unsent",
        "_worker",
        "_writable",
        "_written",
        "network",
        "read_paused",
        "transport",
        "write_paused",
    )

    def __init__(
        self, transport: asyncio.Transport, worker: Connections, network: str = ""
    ) -> None:
        """network: of the client."""
        self.transport = transport
        self.network = network
        self.read_paused = self.write_paused = False
        self._worker = worker
        self._writable: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        #: Size of the last write. A transport keeps all of it until its last byte is sent.
        self._written = 0

    @property
    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def send(self, data: bytes) -> None:
        self._written = len(data)
        self._worker.writes.add(self.transport, data)

    def write(self, data: bytes) -> None:
        self._worker.writes.flush()
        if data and not self.transport.is_closing():
            self._written = len(data)
            self.transport.write(data)

    async def drain(self) -> None:
        """Waits until the client has read enough."""
        if self._writable is not None:
            await self._writable.wait()

    def pause_writing(self) -> None:
        self.write_paused, self._writable = True, asyncio.Event()
        self._watch()

    def resume_writing(self) -> None:
        self._release()
        if self._timer is not None and not self.transport.is_closing():
            self._cancel_timer()

    def close(self) -> None:
        """Closes the connection after the responses that have been written."""
        self._worker.writes.flush()
        if not self.transport.is_closing():  # the second `close` would break asyncio's TLS
            self.transport.close()
            self._watch()

    def lost(self) -> None:
        """Ends all waits after the connection was lost."""
        self._release()
        self._cancel_timer()

    def _release(self) -> None:
        self._worker.count_unsent(self, 0)
        writable, self._writable, self.write_paused = self._writable, None, False
        if writable is not None:
            writable.set()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._worker.count_unsent(self, self._unsent and max(self._unsent, self._written))
        if self._unsent and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(
                self._worker.settings.response_timeout_s, self._check
            )

    def _check(self) -> None:
        """Ends the connection if the client has read too little since the last check."""
        self._timer = None
        unsent = self.transport.get_write_buffer_size()
        timeout_s = self._worker.settings.response_timeout_s
        if unsent and self._unsent - unsent < timeout_s * BYTES_PER_S_MIN:
            self.transport.abort()
        else:
            self._watch()
