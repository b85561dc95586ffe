"""Relays requests that end when their key no longer permits them: WebSockets, server-sent events,
and what a Core declares (`end_on_revocation`).

Envoy sends such a request to this relay, each on a connection of its own, and the relay sends it
back to Envoy, which forwards it. The relay copies bytes, and reads only the heads that Envoy has
written. Each direction has its own back-pressure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from gatehouse.core.actor import RequestId
from gatehouse.core.clock import Clock
from gatehouse.core.cores import DEFAULT_SETTINGS, CoreRecord
from gatehouse.core.decision import evaluate
from gatehouse.core.errors import GatehouseError, Unauthorized, Unavailable
from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord
from gatehouse.core.verification import Code, SignedRequest, VerificationRequest
from gatehouse.platform.proxy_headers import CLUSTER, FORMAT, INSTANCE
from gatehouse.platform.web import problems, responses
from gatehouse.services.gateway.local_server import encode_response

#: Interval at which the relayed requests are checked for expired keys, outdated key state, ended
#: instances and idle time.
STREAM_CHECK_S = 1.0

_BUFFER_BYTES = 65_536

#: Status codes of Close frames (RFC 6455, section 7.4.1).
GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR = 1001, 1008, 1011

#: The responses to requests that end before the Core has responded.
_ERRORS: dict[int, GatehouseError] = {
    POLICY_VIOLATION: Unauthorized("The API key no longer permits the request."),
    INTERNAL_ERROR: Unavailable("API keys cannot be verified temporarily."),
}
_TOO_MANY = Unavailable("The gateway has reached its limit of open streams.")

#: Stands for the signature of a request, which the check has verified.
_VERIFIED = SignedRequest("", "", "", "", "", ())


class Endpoints(Protocol):
    """Receives what the two connections of a request receive."""

    def received(self, side: "Side", data: bytes) -> None: ...

    def lost(self, side: "Side") -> None: ...


class Side(asyncio.Protocol):
    """A connection of Envoy: with the request of a client, or to the Core."""

    def __init__(self, stream: Endpoints) -> None:
        self.stream = stream
        self.transport: Any = None
        self.other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self.stream.received(self, data)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self.other is not None and self.other.is_open:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.is_open:
            self.other.transport.resume_reading()

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stream.lost(self)


class Stream:
    """One request and its response. request: with which the key was verified. core: the instance
    that responded. is_websocket: the Core has accepted the handshake. is_complete: the Core has
    ended its connection, and the client has not received all data.
    """

    def __init__(self, relay: "Relay") -> None:
        self._relay = relay
        self._client, self._core = Side(self), Side(self)
        self._client.other, self._core.other = self._core, self._client
        self._head = self._response = b""
        self._fields: dict[str, str] = {}
        self._connecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.active_at = self._loop.time()
        self.key_id = KeyId("")
        self.record: KeyRecord | None = None
        self.request = VerificationRequest(scopes=(), core=None, address="", method=None)
        self.core: CoreRecord | None = None
        self.core_name = ""
        self.is_websocket = self.is_complete = self._has_response = self.is_ending = False

    def protocol(self) -> asyncio.Protocol:
        return self._client

    def received(self, side: Side, data: bytes) -> None:
        self.active_at = self._loop.time()
        if side is self._core:
            self._client.transport.write(data)
            if not self._has_response:
                self._read_response_head(data)
        elif self._core.transport is not None:
            self._core.transport.write(data)
        else:
            self._receive_head(data)

    def lost(self, side: Side) -> None:
        """What a Core that does not read has not received is discarded when the client disconnects.
        A client still receives what the Core has sent.
        """
        if side is self._core:
            self.is_complete = True
            self._client.transport.close()
            return
        self._relay.remove(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._core.transport is not None:
            self._core.transport.abort()

    def _receive_head(self, data: bytes) -> None:
        """Connects to Envoy when the head, which Envoy limits, has arrived. A body can follow."""
        self._head += data
        if self._connecting is None and b"\r\n\r\n" in self._head:
            self._read_head(self._head.partition(b"\r\n\r\n")[0])
            self._client.transport.pause_reading()
            self._connecting = self._loop.create_task(self._connect())

    def _read_head(self, head: bytes) -> None:
        line, *fields = head.decode("latin-1").split("\r\n")
        pairs = (field.partition(":") for field in fields)
        self._fields = {name.lower(): value.strip() for name, _, value in pairs}
        self.key_id = KeyId(self._fields["gatehouse-key-id"])
        self.core_name = self._fields[CLUSTER.decode()].partition(":")[2]
        self.request = VerificationRequest(
            scopes=("cores:read",),
            core=self.core_name,
            address=self._fields.get("x-forwarded-for", ""),
            method=line.partition(" ")[0],
            signed=_VERIFIED,
        )

    def _read_response_head(self, data: bytes) -> None:
        """Reads the head of the response, which other responses with status 1xx can precede."""
        self._response += data
        head, end, rest = self._response.partition(b"\r\n\r\n")
        self.is_websocket = head.startswith(b"HTTP/1.1 101")
        if end and head.startswith(b"HTTP/1.1 1") and not self.is_websocket:
            self._response = b""
            self._read_response_head(rest)
        elif end:
            self._has_response, self._response = True, b""
            marker = b"\r\n" + INSTANCE + b":"
            instance = head.partition(marker)[2].partition(b"\r\n")[0].strip()
            self.core = self._relay.find_instance(self.core_name, instance.decode("latin-1"))
            if self.is_websocket and self._relay.is_shut:
                self.end(GOING_AWAY)

    async def _connect(self) -> None:
        try:
            if not self._relay.add(self):
                self._respond(_TOO_MANY)
                return
            # Read after the stream was added, so that no change is missed.
            self._relay.key_changed(self.key_id, await self._relay.find_key(self.key_id))
            if not self._client.is_open:
                return
            await self._loop.create_unix_connection(lambda: self._core, self._relay.egress)
        except GatehouseError as exc:
            self._respond(exc)
            return
        except OSError:
            self._client.transport.abort()
            return
        if not self._client.is_open:
            self._core.transport.abort()
            return
        self._client.transport.resume_reading()
        self._core.transport.write(self._head)
        self._head = b""

    def has_ended(self, current: CoreRecord | None, now: float) -> bool:
        """True if the instance has ended, or if another instance has its ID now. A drain continues
        if the same key registered both and the other has not ended; otherwise, nothing would show
        that the key was revoked. current: the instance with the ID, if any.
        """
        last = self.core
        if last is None:
            return False
        if current and current.lease_id != last.lease_id and current.url != last.url:
            drains = last.draining and last.registered_by == current.registered_by
            return last.has_ended(now) or current.has_ended(now) or not drains
        self.core = current or last
        return self.core.has_ended(now)

    def end(self, code: int) -> None:
        """Ends the request. A WebSocket receives a Close frame, which it may receive in the middle
        of a message. If the client does not read, the next call ends the connection.
        """
        if self.is_websocket and not self.is_ending:
            self._client.transport.write(b"\x88\x02" + code.to_bytes(2))
            self._client.transport.close()
        elif code in _ERRORS and not (self._has_response or self._response or self.is_ending):
            self._respond(_ERRORS[code])
        else:
            self._client.transport.abort()
        self.is_ending = True
        if self._core.transport is not None:
            self._core.transport.abort()

    def _respond(self, error: GatehouseError) -> None:
        """Responds instead of the Core."""
        request_id = RequestId(self._fields["gatehouse-request-id"])
        body = problems.problem(error, request_id, docs_url=self._relay.docs_url)
        media_type = problems.PROBLEM_JSON
        if self._fields.get(FORMAT.decode()) == "openai":
            body, media_type = (
                responses.encode(problems.openai_members(error, error.code)),
                responses.JSON,
            )
        own = [(b"x-request-id", request_id.encode()), *problems.problem_headers(error)]
        headers = responses.response_headers(body, media_type, own)
        if self.request.method == "HEAD":
            body = b""
        if self._client.is_open:
            self._client.transport.write(
                encode_response(responses.Response(error.status, headers, body))
            )
            self._client.transport.close()


@dataclass(slots=True, eq=False)
class Relay:
    """The relayed requests of a worker.

    egress: socket of Envoy for requests to Cores. find_key: the current record of a key.
    lease_time: the time until which the leases of instances are judged.
    streams_max: maximum number of requests. idle_timeout_s: maximum time without data, unless the
    Core declares less. docs_url: see `problem_type`.
    """

    environment: KeyEnvironment
    clock: Clock
    egress: str
    find_instance: Callable[[str, str], CoreRecord | None]
    lease_time: Callable[[], float]
    max_staleness_ms: int
    streams_max: int
    idle_timeout_s: float
    docs_url: str
    find_key: Callable[[KeyId], Awaitable[KeyRecord | None]] = field(init=False)
    staleness_ms: Callable[[], int] = field(init=False)
    is_shut: bool = False
    _by_key: dict[KeyId, set[Stream]] = field(default_factory=dict)
    _number: int = 0

    def __len__(self) -> int:
        return self._number

    def accept(self) -> asyncio.Protocol:
        return Stream(self).protocol()

    def add(self, stream: Stream) -> bool:
        """Adds a stream. False if there are too many."""
        if self._number >= self.streams_max:
            return False
        self._by_key.setdefault(stream.key_id, set()).add(stream)
        self._number += 1
        return True

    def remove(self, stream: Stream) -> None:
        streams = self._by_key.get(stream.key_id, set())
        if stream in streams:
            streams.discard(stream)
            self._number -= 1
        if not streams:
            self._by_key.pop(stream.key_id, None)

    def key_ids(self) -> Collection[KeyId]:
        return self._by_key.keys()

    def key_changed(self, key_id: KeyId, record: KeyRecord | None) -> None:
        """Ends the requests that a changed key no longer permits. None: the key does not exist."""
        for stream in tuple(self._by_key.get(key_id, ())):
            stream.record = record
            if not self._evaluate(stream, record):
                stream.end(POLICY_VIOLATION)

    async def check(self) -> int:
        """Ends requests that their key no longer permits, for example because it has expired, that
        are idle, and those to ended instances. Ends all if the key state is too old. Returns the
        number of idle requests.
        """
        idle = 0
        is_stale, now = self.staleness_ms() > self.max_staleness_ms, self.lease_time()
        active_min = asyncio.get_running_loop().time()
        for stream in self._streams():
            current = stream.core and self.find_instance(stream.core_name, stream.core.instance_id)
            idle_s = active_min - stream.active_at
            is_read = stream.record is not None
            if stream.is_ending or (is_read and not self._evaluate(stream, stream.record)):
                stream.end(POLICY_VIOLATION)
            elif is_stale:
                stream.end(INTERNAL_ERROR)
            elif (is_idle := idle_s > self._idle_s(stream)) or stream.has_ended(current, now):
                idle += is_idle
                stream.end(GOING_AWAY)
        return idle

    def shutdown(self) -> None:
        """Ends the WebSockets. Other requests are completed."""
        self.is_shut = True
        for stream in self._streams():
            if stream.is_websocket:
                stream.end(GOING_AWAY)

    def _streams(self) -> list[Stream]:
        return [stream for streams in self._by_key.values() for stream in streams]

    def _idle_s(self, stream: Stream) -> float:
        """Maximum time without data. Envoy limits that of a Core that is to respond."""
        settings = DEFAULT_SETTINGS if stream.core is None else stream.core.settings
        if stream.is_websocket:
            return min(self.idle_timeout_s, settings.idle_timeout_s or self.idle_timeout_s)
        return self.idle_timeout_s if stream.is_complete else float("inf")

    def _evaluate(self, stream: Stream, record: KeyRecord | None) -> bool:
        now = self.clock.now()
        code = evaluate(
            record, stream.request, possession=True, environment=self.environment, now=now
        )
        return code is Code.VALID
