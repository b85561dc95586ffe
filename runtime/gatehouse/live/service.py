"""Streams of server-sent events: new audit events, and the requests of the current and the previous hour.

One task per console process reads the events for all streams, once per second while a stream is open. The task first reads the
new events, then checks the sessions of all streams with one query, and then delivers the events. A stream therefore never
contains an event that was recorded after its session had ended.

Source: HTML Living Standard, section 9.2 (server-sent events).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from gatehouse.audit.models import AuditRow
from gatehouse.audit.repository import AuditRepository
from gatehouse.audit.schemas import audit_view
from gatehouse.background import Background
from gatehouse.clock import Clock
from gatehouse.errors import TooManyRequests, Unavailable
from gatehouse.identity.models import AUDITORS, READERS, Role, Session
from gatehouse.identity.service import Sessions
from gatehouse.keys.models import Key, KeyId
from gatehouse.keys.repository import KeyRepository
from gatehouse.usage.repository import UsageRepository
from gatehouse.usage.schemas import WIDTHS_S, usage_series

#: Maximum number of open streams of a console process. Each stream is one connection.
STREAMS_MAX = 100

#: Maximum number of open streams of a session. Browsers open at most six connections to a host with HTTP/1.1.
SESSION_STREAMS_MAX = 4

#: Maximum number of messages that wait for a client that does not read. All streams share the bytes of a message.
WAITING_MAX = 16

#: Maximum number of audit events in a message. If there are more, the newest are sent. Clients detect the gap in `seq`.
ROWS_MAX = 200

POLL_S = 1.0
USAGE_INTERVAL_S = 5.0

#: Interval between two messages if there are no events. Load balancers close idle connections after 60 s (CloudFront) or more.
HEARTBEAT_S = 15.0

#: Time after which a browser connects again.
RETRY_MS = 3000

#: Returns the current roles of the credential of a session, or None if the credential is no longer valid. The key is None unless
#: the session was started with a key that exists.
CurrentRoles = Callable[[Session, Key | None], frozenset[Role] | None]

_HEARTBEAT = b"event: heartbeat\ndata: {}\n\n"


@dataclass(slots=True, eq=False)
class EventStream:
    """An open stream. `roles`: current roles of the session. `heartbeat_s`: interval between messages if there are no events."""

    session: Session
    current_roles: CurrentRoles
    roles: frozenset[Role]
    on_close: Callable[[EventStream], None]
    heartbeat_s: float = HEARTBEAT_S
    _messages: list[bytes] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    def send(self, message: bytes) -> None:
        """Adds a message. Ends the stream if too many messages wait."""
        if len(self._messages) >= WAITING_MAX:
            self.end()
        else:
            self._messages.append(message)
            self._changed.set()

    def end(self) -> None:
        """Ends the stream. Messages that wait are not sent."""
        self._messages.clear()
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        self.on_close(self)

    async def messages(self) -> AsyncIterator[bytes]:
        """The content of the stream until it ends."""
        yield b"retry: %d\n\n" % RETRY_MS
        while not self._ended:
            try:
                async with asyncio.timeout(self.heartbeat_s):
                    await self._changed.wait()
            except TimeoutError:
                yield _HEARTBEAT
                continue
            self._changed.clear()
            messages, self._messages = self._messages, []
            if messages:
                yield b"".join(messages)


@dataclass(slots=True, eq=False)
class EventStreams:
    """The open streams of a console process. A stream ends when its session ends, when the database is not available, and when
    the server stops. `poll_s`, `usage_interval_s`: intervals at which audit events
    and usage are read."""

    audit: AuditRepository
    usage: UsageRepository
    sessions: Sessions
    keys: KeyRepository
    clock: Clock
    poll_s: float = POLL_S
    usage_interval_s: float = USAGE_INTERVAL_S
    _streams: set[EventStream] = field(default_factory=set)
    _background: Background = field(default_factory=Background)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _running: bool = False
    _draining: bool = False
    _seq: int = 0
    _usage: bytes = b""
    _usage_read_at: float = 0.0

    def __len__(self) -> int:
        return len(self._streams)

    async def open(
        self, session: Session, roles: frozenset[Role], current_roles: CurrentRoles, *, last_seq: int | None
    ) -> EventStream:
        """Opens a stream, which the caller must close. `last_seq`: the stream continues after this audit event.

        Raises TooManyRequests if the session has too many streams, and Unavailable.
        """
        stream = EventStream(session, current_roles, roles, self._close)
        if self._draining:
            stream.end()
            return stream
        if len(self._streams) >= STREAMS_MAX:
            raise Unavailable("The console has too many open event streams.")
        if sum(other.session.id == session.id for other in self._streams) >= SESSION_STREAMS_MAX:
            raise TooManyRequests("The session has too many open event streams.")
        self._streams.add(stream)
        try:
            await self._start()
            await self._send_first(stream, last_seq)
        except BaseException:
            stream.close()
            raise
        return stream

    def drain(self) -> None:
        """Ends all streams, and from now on ends new streams at once. Browsers then connect again, to another process if there is
        one."""
        self._draining = True
        self._end_all()

    async def stop(self) -> None:
        self.drain()
        await self._background.stop()

    def _close(self, stream: EventStream) -> None:
        stream.end()
        self._streams.discard(stream)

    def _end_all(self) -> None:
        for stream in list(self._streams):
            stream.close()

    async def _start(self) -> None:
        """Starts the task unless it is running. The task ends when no stream is open."""
        async with self._starting:
            if not self._running:
                self._seq = await self.audit.newest_seq()
                self._usage_read_at = 0.0
                await self._read_usage()
                self._background.start(self._run(), "event streams")
                self._running = True

    async def _send_first(self, stream: EventStream, last_seq: int | None) -> None:
        """Sends the requests of the current hour, and the audit events after `last_seq` that other streams have received."""
        first = _HEARTBEAT
        if stream.roles & AUDITORS:
            position = self._seq
            rows: Iterable[AuditRow] = () if last_seq is None else await self.audit.newest(last_seq, ROWS_MAX)
            # Rows after the position are delivered together with those of the other streams, which may already have happened.
            first = b"id: %d\n%s" % (position, first) + _audit_messages(row for row in rows if row.seq <= position)
        if stream.roles & READERS:
            first += self._usage
        stream._messages.insert(0, first)
        stream._changed.set()

    async def _run(self) -> None:
        try:
            with contextlib.suppress(Unavailable):
                while self._streams:
                    await asyncio.sleep(self.poll_s)
                    await self._deliver()
        finally:
            self._running = False
            self._end_all()

    async def _deliver(self) -> None:
        """Reads the new events and delivers them to all streams whose sessions are active. Raises Unavailable."""
        rows = await self.audit.newest(self._seq, ROWS_MAX)
        is_new = await self._read_usage()
        await self._check()
        audit, usage = _audit_messages(rows), self._usage if is_new else b""
        if rows:
            self._seq = rows[-1].seq
        for stream in list(self._streams):
            message = (audit if stream.roles & AUDITORS else b"") + (usage if stream.roles & READERS else b"")
            if message:
                stream.send(message)

    async def _read_usage(self) -> bool:
        """Reads the requests of the current and the previous hour. Returns False if they are the same as before."""
        now = asyncio.get_running_loop().time()
        if now < self._usage_read_at + self.usage_interval_s and self._usage:
            return False
        self._usage_read_at = now
        width_s, until = WIDTHS_S["hour"], self.clock.now()
        # A gateway may write requests of the previous hour some seconds after its end.
        since = (until // width_s - 1) * width_s
        points = await self.usage.series(width_s=width_s, since=since, until=until, by=frozenset({"code"}))
        message = _message("usage", usage_series(points, width_s=width_s, since=since, until=since + 2 * width_s))
        is_new, self._usage = message != self._usage, message
        return is_new

    async def _check(self) -> None:
        """Updates the roles of all streams, and ends the streams whose sessions have ended. Raises Unavailable."""
        streams = list(self._streams)
        sessions = await self.sessions.active({stream.session.id for stream in streams})
        holders = {KeyId(session.actor_id) for session in sessions.values() if session.actor_type == "key"}
        keys = {key.id: key for key in await self.keys.get_all(holders)}
        for stream in streams:
            session = sessions.get(stream.session.id)
            roles = None if session is None else stream.current_roles(session, keys.get(KeyId(session.actor_id)))
            if roles is None or not roles & STREAM_READERS:
                stream.close()
            else:
                stream.roles = roles


#: Roles that can read at least one kind of event.
STREAM_READERS = AUDITORS | READERS


def _audit_messages(rows: Iterable[AuditRow]) -> bytes:
    return b"".join(b"id: %d\n%s" % (row.seq, _message("audit", audit_view(row))) for row in rows)


def _message(event: str, data: object) -> bytes:
    """One event. JSON contains no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(data))
