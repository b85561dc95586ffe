"""Relays WebSockets between clients and Cores, and closes them when their key no longer permits
them.

Each direction has its own back-pressure: reading pauses while the other side does not read. Frames
are checked (http/websocket.py) and forwarded as they arrive. The gateway negotiates no extensions,
so a message has the same size on both connections.

A frame costs the same time whatever its size, and a read of a socket can contain 40,000 frames.
Frames beyond a number wait in a queue that all WebSockets of the worker share, and their reads take
turns, so that other requests are answered between them.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from gatehouse.core.clock import Clock
from gatehouse.core.cores import CoreRecord
from gatehouse.core.decision import evaluate
from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord
from gatehouse.core.verification import Code, VerificationRequest
from gatehouse.platform.executions import Places
from gatehouse.platform.http.listening import reset_at_close
from gatehouse.platform.http.websocket import CloseCode, FrameChecker, FrameError, close_frame
from gatehouse.platform.observability import WebSocketUse
from gatehouse.platform.settings import BYTES_PER_S_MIN
from gatehouse.platform.tls_records import end_turns
from gatehouse.platform.turns import Reads

#: Interval at which open WebSockets are checked for expired keys and outdated key state.
CHECK_S = 1.0

#: Maximum time in seconds between the Close frames of both sides.
_HANDSHAKE_S = 10.0

#: Time in seconds after which a connection that the gateway ends is aborted, unless it is still
#: sending data.
_END_S = 2.0

#: Interval in seconds in which the numbers of frames below are counted.
_INTERVAL_S = 0.005

#: Number of frames of one side that are forwarded when they are received. Checking them takes about
#: as long as reading a socket. Further frames wait.
_FRAMES_MAX = 64

#: Number of waiting frames that a worker forwards, and the part that one side forwards before the
#: next side.
_WAITING_FRAMES_MAX = 1_000
_FRAMES_BATCH = 250

#: Size of a read, and of the data that waits for a side that does not read.
_READ_BYTES = 16_384

_REVOKED = "the API key no longer permits this connection"
_ENDED = "the instance of the Core has ended"


class _Side(asyncio.BufferedProtocol):
    """The connection to the client, or to the Core."""

    def __init__(self, relay: "Relay", message_max_bytes: int, *, is_client: bool) -> None:
        self.checker = FrameChecker(masked=is_client, message_max_bytes=message_max_bytes)
        self.subject = relay.subject
        self.bytes = 0
        self.is_open = False
        #: True after the gateway has begun to end the connection. Nothing more is relayed in either
        #: direction.
        self.is_closing = False
        #: True after a Close frame has been sent or forwarded to this side.
        self.is_close_sent = False
        self._relay = relay
        self._is_client = is_client
        self._transport: asyncio.Transport | None = None
        #: The connection to a Core is passed to the relay with reading paused, until `start`.
        self._paused = not is_client
        self._started = is_client
        #: True while the other side does not read.
        self._blocked = False
        self._allowed_frames = 0
        self._interval_end = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(1)  # the kernel has a buffer. 0 would block TLS
        self.is_open = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._relay.queue.reads.begin(_READ_BYTES)

    def buffer_updated(self, nbytes: int) -> None:
        reads = self._relay.queue.reads
        self.data_received(bytes(reads.buffer[:nbytes]))
        if self._transport is not None:
            reads.end(nbytes, self._transport, lambda: self._paused, self.subject)

    def data_received(self, data: bytes) -> None:
        if self.is_closing or self.checker.close_code is not None:
            return
        self.bytes += len(data)
        now = self._relay.restart_idle_time()
        if now >= self._interval_end:
            self._interval_end, self._allowed_frames = now + _INTERVAL_S, _FRAMES_MAX
        self._allowed_frames -= self.forward(data, self._allowed_frames)

    def pause_writing(self) -> None:
        self._relay.other(self).block()

    def resume_writing(self) -> None:
        self._relay.other(self).unblock()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        # The objects of the connection are freed without garbage collection.
        if self._transport is not None:
            end_turns(self._transport)
            self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._relay.queue.remove(self)
        self.checker.discard()
        self._relay.lost(self)

    def forward(self, data: bytes, frames_max: int) -> int:
        """Forwards received data up to this number of frames; the rest waits. Returns the number of
        frames.
        """
        if self.is_closing:
            return 0
        before = self.checker.frames
        self._relay.forward(self, data, frames_max)
        if self.checker.is_waiting and not self._blocked:
            self._relay.queue.add(self)
        self._update_reading()
        return self.checker.frames - before

    def block(self) -> None:
        self._blocked = True
        self._relay.queue.remove(self)
        self._update_reading()

    def unblock(self) -> None:
        self._blocked = False
        if self.checker.is_waiting:
            self._relay.queue.add(self)
        self._update_reading()

    def start(self, data: bytes) -> None:
        self._started = True
        if data:
            self.data_received(data)
        self._update_reading()

    def _update_reading(self) -> None:
        """Pauses reading while data cannot be forwarded, and resumes it. Data of a side that is
        closing is read and discarded.
        """
        pause = not self.is_closing and (
            self._blocked or self.checker.is_waiting or not self._started
        )
        if pause is self._paused or self._transport is None or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if (
            data
            and self._transport is not None
            and not self.is_closing
            and not self._transport.is_closing()
        ):
            self._transport.write(data)

    def send_close(self, code: int, reason: str) -> None:
        """Sends a Close frame, unless one has been sent already, and ends the connection."""
        if not self.is_close_sent:
            self.is_close_sent = True
            self.write(
                close_frame(code, reason, None if self._is_client else secrets.token_bytes(4))
            )
        self.finish()

    def finish(self) -> None:
        """Ends the connection after all data has been sent. Data that still arrives is discarded.

        A client that has not sent a Close frame ends the connection itself: closing it immediately
        would reset it, and the client could lose the Close frame of the gateway (RFC 6455, section
        7.1.1). A Core always does, so that no local port waits.
        """
        self.is_closing = True
        self._update_reading()
        if self._transport is None or not self.is_open:
            return
        if self._is_client:
            if self.checker.close_code is None and self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        if self._timer is None:
            self._abort_later(self._transport)

    def abort(self) -> None:
        if self._transport is not None:
            if not self._is_client:
                reset_at_close(self._transport)
            self._transport.abort()

    def _abort_later(self, transport: asyncio.Transport) -> None:
        self._unsent = transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(_END_S, self._check_end, transport)

    def _check_end(self, transport: asyncio.Transport) -> None:
        """Aborts the connection if it does not end although the other end reads, or if the other
        end reads too slowly.
        """
        sent = self._unsent - transport.get_write_buffer_size()
        if self._unsent and sent >= min(self._unsent, _END_S * BYTES_PER_S_MIN):
            self._abort_later(transport)
        else:
            self.abort()


class FrameQueue:
    """Forwards the frames that wait, a bounded number in each interval. Keys take turns, and of a
    key, the sides of its WebSockets. reads: of all WebSockets of the worker.
    """

    def __init__(self) -> None:
        self.reads = Reads(_READ_BYTES)
        #: By key.
        self._sides: dict[str, dict[_Side, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, side: _Side) -> None:
        """Adds a side at the end, unless the queue contains it."""
        self._sides.setdefault(side.subject, {}).setdefault(side)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._forward)

    def remove(self, side: _Side) -> None:
        """The next turn is that of another key."""
        sides = self._sides.pop(side.subject, {})
        sides.pop(side, None)
        if sides:
            self._sides[side.subject] = sides

    def _forward(self) -> None:
        remaining = _WAITING_FRAMES_MAX
        while self._sides and remaining > 0:
            side = next(iter(next(iter(self._sides.values()))))
            self.remove(side)
            # Adds the side again if frames still wait.
            remaining -= side.forward(b"", min(remaining, _FRAMES_BATCH))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_INTERVAL_S, self._forward) if self._sides else None


class Relay:
    """One WebSocket: the connection to the client and the connection to the Core."""

    def __init__(
        self,
        idle_timeout_s: float,
        record: KeyRecord,
        request: VerificationRequest,
        instance: CoreRecord,
        queue: FrameQueue,
    ) -> None:
        """idle_timeout_s: maximum time without data in either direction, unless the Core declares
        less. request: the verification request of the handshake. instance: the instance of the
        Core. queue: of the worker.
        """
        self.request = request
        self.instance = instance
        self.queue = queue
        self.subject = record.subject
        self.record: KeyRecord | None = record  # as the change feed last reported it
        settings = instance.settings
        self.client = _Side(self, settings.websocket_message_max_bytes, is_client=True)
        self.core = _Side(self, settings.websocket_message_max_bytes, is_client=False)
        self._idle_timeout_s = min(idle_timeout_s, settings.idle_timeout_s or idle_timeout_s)
        self._loop = asyncio.get_running_loop()
        self._active_at = self._loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._code: int | None = None

    @property
    def use(self) -> WebSocketUse:
        return WebSocketUse(self._code or CloseCode.ABNORMAL, self.client.bytes, self.core.bytes)

    async def run(self, client_data: bytes, core_data: bytes) -> None:
        """Relays frames until both connections have ended. The arguments are data that has already
        been received.
        """
        self.restart_idle_time()
        self._idle_timer = self._loop.call_later(self._idle_timeout_s, self._check_idle)
        try:
            self.core.start(core_data)
            self.client.start(client_data)
            await self._ended
        finally:
            for timer in (self._idle_timer, self._handshake_timer):
                if timer is not None:
                    timer.cancel()
            self.client.abort()
            self.core.abort()

    def close(
        self,
        client: tuple[CloseCode, str],
        core: tuple[CloseCode, str] = (CloseCode.GOING_AWAY, ""),
    ) -> None:
        self._code = self._code or client[0]
        for side, (code, reason) in ((self.client, client), (self.core, core)):
            if side.is_open and not side.is_closing:
                side.send_close(code, reason)

    def other(self, side: _Side) -> _Side:
        return self.core if side is self.client else self.client

    def has_ended(self, current: CoreRecord | None, now: float) -> bool:
        """True if the instance has ended, or if another instance has its ID now. A drain continues
        if the same key registered both and the other has not ended; otherwise, nothing would show
        that the key was revoked. current: the instance with the ID, if any.
        """
        last = self.instance
        if current and current.lease_id != last.lease_id and current.url != last.url:
            drains = last.draining and last.registered_by == current.registered_by
            return last.has_ended(now) or current.has_ended(now) or not drains
        self.instance = current or last
        return self.instance.has_ended(now)

    def restart_idle_time(self) -> float:
        self._active_at = self._loop.time()
        return self._active_at

    def forward(self, side: _Side, data: bytes, frames_max: int) -> None:
        try:
            forwarded = side.checker.feed(data, frames_max)
        except FrameError as exc:
            self._reject(side, exc)
            return
        other = self.other(side)
        other.write(forwarded)
        if side.checker.close_code is None:
            return
        other.is_close_sent = True
        self._code = self._code or side.checker.close_code
        if other.checker.close_code is None:
            self._handshake_timer = self._loop.call_later(_HANDSHAKE_S, self._end_close_handshake)
        else:
            self._end_close_handshake()

    def lost(self, side: _Side) -> None:
        other = self.other(side)
        if not other.is_open:
            if not self._ended.done():
                self._ended.set_result(None)
        elif other.is_closing:
            pass
        elif other.checker.close_code is not None:
            # The confirmation that the lost side has not sent.
            other.send_close(other.checker.close_code, "")
        elif side.checker.close_code is not None:
            other.finish()
        elif side is self.client:
            self._code = self._code or CloseCode.ABNORMAL
            other.send_close(CloseCode.GOING_AWAY, "the client disconnected")
        else:
            self._code = self._code or CloseCode.INTERNAL_ERROR
            other.send_close(CloseCode.INTERNAL_ERROR, "the Core closed the connection")

    def _end_close_handshake(self) -> None:
        for side in (self.client, self.core):
            side.finish()

    def _reject(self, side: _Side, error: FrameError) -> None:
        self.other(side).write(error.forwarded)
        cause = (error.code, error.args[0])
        if side is self.client:
            self.close(
                client=cause, core=(CloseCode.GOING_AWAY, "the client sent an invalid frame")
            )
            return
        code = error.code if error.code is CloseCode.MESSAGE_TOO_BIG else CloseCode.INTERNAL_ERROR
        self.close(client=(code, f"from the Core: {error.args[0]}"), core=cause)

    def _check_idle(self) -> None:
        remaining = self._active_at + self._idle_timeout_s - self._loop.time()
        if remaining > 0:
            self._idle_timer = self._loop.call_later(remaining, self._check_idle)
        else:
            self.close(
                client=(CloseCode.GOING_AWAY, "idle timeout"),
                core=(CloseCode.GOING_AWAY, "idle timeout"),
            )

    def shutdown(self) -> None:
        self.close(client=(CloseCode.GOING_AWAY, "the gateway is stopping"))

    def displace(self) -> bool:
        self.close(client=(CloseCode.TRY_AGAIN_LATER, "other keys need the place"))
        return True


@dataclass(slots=True, eq=False)
class WebSockets:
    """The open WebSockets of a worker.

    places: for WebSockets, by key family.
    max_staleness_ms: maximum age of the key state. If the key state is older, all WebSockets are
        closed.
    idle_timeout_s: maximum time without data, unless the Core declares less.
    """

    environment: KeyEnvironment
    clock: Clock
    places: Places
    max_staleness_ms: int
    idle_timeout_s: float
    _relays: dict[KeyId, set[Relay]] = field(default_factory=dict)
    _queue: FrameQueue = field(default_factory=FrameQueue)

    def __len__(self) -> int:
        return self.places.used

    @contextmanager
    def relay(
        self, record: KeyRecord, request: VerificationRequest, instance: CoreRecord
    ) -> Iterator[Relay]:
        """A relay that is closed when the key no longer permits it. Read the key again and call
        `permits` before `Relay.run`, so that no change of the key is missed."""
        relay = Relay(self.idle_timeout_s, record, request, instance, self._queue)
        relays = self._relays.setdefault(record.id, set())
        relays.add(relay)
        try:
            yield relay
        finally:
            relays.discard(relay)
            if not relays:
                self._relays.pop(record.id, None)

    def permits(self, relay: Relay, record: KeyRecord | None) -> bool:
        relay.record, now = record, self.clock.now()
        return (
            evaluate(record, relay.request, possession=True, environment=self.environment, now=now)
            is Code.VALID
        )

    def key_ids(self) -> Collection[KeyId]:
        return self._relays.keys()

    def key_changed(self, key_id: KeyId, record: KeyRecord | None) -> None:
        """Closes the WebSockets that a changed key no longer permits. None: the key does not
        exist.
        """
        for relay in tuple(self._relays.get(key_id, ())):
            if not self.permits(relay, record):
                relay.close(client=(CloseCode.POLICY_VIOLATION, _REVOKED))

    async def check(
        self, staleness_ms: Callable[[], int], find: Callable[[str, str], CoreRecord | None]
    ) -> None:
        """Closes WebSockets that their key no longer permits, for example because it has expired,
        and those of drained instances. Closes all WebSockets if the key state is too old.

        find: the current record of an instance, by the name of the Core and the ID of the instance.
        """
        is_stale, now = staleness_ms() > self.max_staleness_ms, self.clock.now()
        for relay in [relay for relays in self._relays.values() for relay in relays]:
            if not self.permits(relay, relay.record):
                relay.close(client=(CloseCode.POLICY_VIOLATION, _REVOKED))
            elif is_stale:
                relay.close(
                    client=(CloseCode.INTERNAL_ERROR, "API keys cannot be verified temporarily")
                )
            elif relay.has_ended(find(relay.instance.name, relay.instance.instance_id), now):
                relay.close(
                    client=(CloseCode.GOING_AWAY, _ENDED), core=(CloseCode.GOING_AWAY, _ENDED)
                )
