"""The transport of a client's connection: flow control in both directions, and a deadline for the
client to read.
"""

import asyncio
import select

from gatehouse.core.addresses import network_of
from gatehouse.platform.http.connections import ANYONE, Connections
from gatehouse.platform.settings import BYTES_PER_S_MIN

#: Size of the parts in which data is passed to TLS, which passes on all that it has as soon as the
#: client reads, and does not report how much of it waits.
_TLS_PART_BYTES = 65_536

#: First and last interval at which a connection with TLS that is being closed checks whether its
#: data was sent. The interval doubles.
_FIRST_CHECK_S, _LAST_CHECK_S = 0.01, 1.0


class ClientTransport:
    """A client has to read at least BYTES_PER_S_MIN. `send` writes together with the responses of
    other connections of the worker, `write` immediately.
    """

    __slots__ = (
        "_closing",
        "_ends",
        "_is_tls",
        "_rest",
        "_sent",
        "_timer",
        "_total",
        "_worker",
        "_writable",
        "_written",
        "forwarded_for",
        "network",
        "peer",
        "read_paused",
        "subject",
        "transport",
        "write_paused",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        worker: Connections,
        peer: str = "",
        *,
        is_tls: bool = False,
    ) -> None:
        self.transport, self.peer, self.network = transport, peer, network_of(peer)
        #: Last part of X-Forwarded-For of the last request.
        self.forwarded_for = b""
        #: Of the last response.
        self.subject = ANYONE
        self.read_paused = self.write_paused = False
        self._worker = worker
        self._writable: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Bytes that were written, and those that had been sent at the last check.
        self._total = self._sent = 0
        #: Size of the last write. A transport keeps all of it until its last byte is sent.
        self._written = 0
        self._is_tls = is_tls
        #: Data that has not been passed to TLS. Empty unless writing is paused.
        self._rest: list[memoryview] = []
        #: True if the connection is closed when all data was sent.
        self._ends = False
        #: Checks that with TLS.
        self._closing: asyncio.TimerHandle | None = None

    @property
    def is_closing(self) -> bool:
        return self._ends or self.transport.is_closing()

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
        if self._rest or (self._is_tls and len(data) > _TLS_PART_BYTES):
            self.write(data)
            return
        self._count(data)
        self._worker.writes.add(self.transport, data)

    def write(self, data: bytes) -> None:
        self._worker.writes.flush()
        if not data or self.is_closing:
            return
        self._count(data)
        if self._is_tls:
            self._rest.append(memoryview(data))
            self._write_rest()
        else:
            self.transport.write(data)

    def _count(self, data: bytes) -> None:
        self._written = len(data)
        self._total += self._written

    def _write_rest(self) -> None:
        """Passes parts to TLS until the client has to read."""
        while self._rest and not self.write_paused:
            first = self._rest.pop(0)
            if len(first) > _TLS_PART_BYTES:
                self._rest.insert(0, first[_TLS_PART_BYTES:])
            self.transport.write(first[:_TLS_PART_BYTES])

    async def drain(self) -> None:
        if self._writable is not None:
            await self._writable.wait()

    def pause_writing(self) -> None:
        self.write_paused, self._writable = True, self._writable or asyncio.Event()
        self._watch()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._write_rest()
        if self.write_paused:
            return
        self._release()
        if not self.is_closing:
            self._cancel_timer()

    def close(self) -> None:
        """Closes the connection after the responses that have been written."""
        self._worker.writes.flush()
        if not self.is_closing:  # the second `close` would break asyncio's TLS
            self._ends = True
            self._close(_FIRST_CHECK_S)
            self._watch()

    def _close(self, wait_s: float) -> None:
        """The client has SHUTDOWN_TIMEOUT_S to confirm the end of TLS, and would lose what it has
        not read by then.
        """
        if self._is_tls and self.unsent_bytes():
            later, wait_s = asyncio.get_running_loop().call_later, min(wait_s, _LAST_CHECK_S)
            self._closing = later(wait_s, self._close, 2 * wait_s)
        else:
            self.transport.close()

    def lost(self) -> None:
        self._rest, self._ends = [], True
        self._release()
        self._cancel_timer()
        if self._closing is not None:
            self._closing.cancel()
        del self.transport  # uvloop's TLS refers to the protocol, and is freed without collection

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
        unsent = self.unsent_bytes()
        self._worker.count_unsent(self, unsent and max(unsent, self._written))
        if unsent and self._timer is None:
            self._sent = self._total - unsent
            self._timer = asyncio.get_running_loop().call_later(
                self._worker.settings.response_timeout_s, self._check
            )

    def unsent_bytes(self) -> int:
        """Bytes that wait for the client, at least 1 if there are any: TLS does not report what its
        transport keeps until the kernel takes it.
        """
        unsent = self.transport.get_write_buffer_size() + sum(map(len, self._rest))
        if unsent or not self._is_tls:
            return unsent
        sock = self.transport.get_extra_info("socket")  # None after the connection was lost
        if sock is None or sock.fileno() < 0:
            return 0
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLOUT)
        return int(not poll.poll(0))

    def _check(self) -> None:
        """Ends the connection if the client has read too little since the last check."""
        self._timer = None
        unsent, timeout_s = self.unsent_bytes(), self._worker.settings.response_timeout_s
        if unsent and self._total - unsent - self._sent < timeout_s * BYTES_PER_S_MIN:
            self.transport.abort()
        else:
            self._watch()
