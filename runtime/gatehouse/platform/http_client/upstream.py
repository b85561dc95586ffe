"""Sends requests to Cores. Each URL has one connection pool, which is pinned to a checked address.

The gateway resolves the host name, checks the address (core/origin.py) and connects to this
address, so that the name cannot resolve to another address between the check and the connection
(DNS rebinding). TLS still verifies the name. Redirects are not followed, bodies are not decoded,
and no headers are added except Host and, for a streamed body of unknown length, Transfer-Encoding.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakValueDictionary

import msgspec

from gatehouse.core.addresses import Network, is_address
from gatehouse.core.errors import BadRequest, CoreUnreachable
from gatehouse.core.origin import BaseUrl, parse_base_url, rejection
from gatehouse.platform.batched_writes import BatchedWrites
from gatehouse.platform.executions import Slots, in_task
from gatehouse.platform.http_client.connections import READ_BYTES, Connection, ConnectionPool
from gatehouse.platform.turns import Reads

#: A connection, of which a caller uses the response: `status` and `headers`, with names in
#: lowercase, `is_complete`, `read`, `read_all`, and `upgrade` after status 101.
UpstreamResponse: TypeAlias = Connection


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request to a Core. `target`: raw path and query, below the path of the URL of the Core.
    `body`: None, bytes, or a stream of bytes. `upgrade`: the request asks for another protocol, so
    the Core may respond with status 101.

    host: value of the header Host. Empty for the host of the URL.
    timeout_s: maximum time in seconds without data from the Core, before and during the response.
    sender: for which a handshake and reads count, such as a key, or empty.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None
    upgrade: bool = False
    host: str = ""
    timeout_s: float = 60.0
    sender: str = ""

    def __repr__(self) -> str:
        return f"UpstreamRequest({self.method})"


RESOLVE_TIMEOUT_S = 3.0

#: Maximum number of lookups in progress of a resolver, in total and for a subject, such as a key.
LOOKUPS_MAX, SUBJECT_LOOKUPS_MAX = 64, 16

#: Maximum number of TLS handshakes in progress of a subject, of which a URL and a sender have at
#: most half. Further ones wait.
HANDSHAKES_MAX = 16

#: Maximum number of steps of handshakes of a subject that are calculated at the same time, each for
#: another URL, so that a URL with costly steps does not delay the others.
SUBJECT_STEPS_MAX = 2

#: Maximum number of addresses of a name. Further ones, of which a response of a name server can
#: contain thousands, are neither checked nor used.
ADDRESSES_MAX = 16

#: Time for which a checked address is used before the host name is resolved again.
PIN_S = 60.0

#: Pools that are unused for this long are closed: a Core behind a tunnel changes its URL often.
IDLE_POOL_S = 600.0
#: Maximum number of pools. Another URL closes the pool that is unused for the longest time.
POOLS_MAX = 1024


#: Distinct addresses of a host name, or None if they are unknown.
_Lookup: TypeAlias = "asyncio.Future[tuple[str, ...] | None]"


class SystemResolver:
    """Resolver of the operating system. Each lookup has a thread: a name server that does not
    respond keeps it for longer than RESOLVE_TIMEOUT_S, and the few threads of the event loop also
    resolve the names of PostgreSQL and Redis.
    """

    def __init__(self) -> None:
        #: The lookups in progress, each with the subject that it counts for.
        self._lookups: dict[tuple[str, int], tuple[str, _Lookup]] = {}

    async def addresses(self, host: str, port: int, subject: str = "") -> tuple[str, ...] | None:
        """Distinct addresses of a host name, in the resolver's order, at most ADDRESSES_MAX. Empty
        if the name does not exist. None if that is not known within RESOLVE_TIMEOUT_S, or if
        LOOKUPS_MAX lookups of other names are in progress, or SUBJECT_LOOKUPS_MAX for the subject.
        """
        if is_address(host):
            return (host,)
        if (host, port) not in self._lookups:
            subjects = [each for each, _ in self._lookups.values()]
            if len(subjects) >= LOOKUPS_MAX or subjects.count(subject) >= SUBJECT_LOOKUPS_MAX:
                return None
            loop = asyncio.get_running_loop()
            arguments = (loop, host, port)
            threading.Thread(target=self._look_up, args=arguments, daemon=True).start()
            self._lookups[host, port] = subject, loop.create_future()
        lookup = self._lookups[host, port][1]
        await asyncio.wait((lookup,), timeout=RESOLVE_TIMEOUT_S)
        return lookup.result() if lookup.done() else None

    def _look_up(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        """Runs in a thread."""
        found: tuple[str, ...] | None = ()
        try:
            results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # Removes a scope ID (fe80::1%eth0): only the address is checked.
            texts = (str(result[4][0]).partition("%")[0] for result in results)
            found = tuple(dict.fromkeys(texts))[:ADDRESSES_MAX]
        except OSError as exc:
            found = None if exc.errno == socket.EAI_AGAIN else ()
        except UnicodeError:
            pass
        with suppress(RuntimeError):  # the event loop has been closed
            loop.call_soon_threadsafe(self._end, (host, port), found)

    def _end(self, name: tuple[str, int], found: tuple[str, ...] | None) -> None:
        self._lookups.pop(name)[1].set_result(found)


@dataclass(slots=True)
class _Pinned:
    pool: ConnectionPool
    url: BaseUrl
    address: str
    checked_at: float
    used_at: float


@dataclass(slots=True, eq=False)
class UpstreamClients:
    """HTTP clients of a worker. `networks`: private networks in which Cores are allowed."""

    resolver: SystemResolver
    networks: Sequence[Network]
    _writes: BatchedWrites = field(default_factory=BatchedWrites)
    _reads: Reads = field(default_factory=lambda: Reads(READ_BYTES))
    _idle: OrderedDict[Connection, ConnectionPool] = field(default_factory=OrderedDict)
    _pinned: dict[str, _Pinned] = field(default_factory=dict)
    #: The handshakes of each subject, or of a URL without one.
    _handshakes: WeakValueDictionary[str, Slots] = field(default_factory=WeakValueDictionary)
    #: Limit the steps of the handshakes of each URL and subject, see `tls_records.established`.
    _steps: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = field(
        default_factory=WeakValueDictionary
    )
    #: Pools that were replaced while requests were in progress.
    _retired: list[ConnectionPool] = field(default_factory=list)

    async def close(self) -> None:
        for pool in (*self._retired, *(pinned.pool for pinned in self._pinned.values())):
            pool.close()
        self._pinned.clear()

    def send(
        self,
        url: str,
        request: UpstreamRequest,
        subject: str = "",
        on_connect: Callable[[], None] = lambda: None,
    ) -> Sending:
        """Sends a request below a URL when the context is entered. The request ends when the
        context exits. subject: for which a lookup of the host name and a handshake count.
        on_connect: called when there is a connection for the request.

        Raises CoreUnreachable, CoreOverloaded (too many handshakes), CoreTimeout (no data for
        `timeout_s`), the errors of a streamed body, and BadRequest (cannot be sent).
        """
        return Sending(self, url, request, subject, on_connect)

    async def find(self, url: str, subject: str = "") -> _Pinned:
        """The pool of a URL. Raises CoreUnreachable."""
        pinned = self._find_now(url)
        if pinned is None:
            await in_task()
            pinned = await self._pin(url, subject)
        return pinned

    async def connect(
        self, pool: ConnectionPool, url: str, subject: str, sender: str
    ) -> Connection:
        """A new connection of the pool of a URL. Raises CoreUnreachable, CoreOverloaded."""
        slots = self._handshakes.setdefault(subject or url, Slots(HANDSHAKES_MAX))
        steps = [
            self._steps.setdefault(each, asyncio.Semaphore(each[1]))
            for each in ((url, 1), (subject or url, SUBJECT_STEPS_MAX))
        ]
        try:
            return await pool.connect(slots.hold(*filter(None, (sender, url))), *steps)
        except CoreUnreachable:
            self.forget(url)
            raise

    def _find_now(self, url: str) -> _Pinned | None:
        """The pool of a URL, or None if its address has to be checked."""
        pinned, now = self._pinned.get(url), time.monotonic()
        if pinned is None or now - pinned.checked_at >= PIN_S:
            return None
        pinned.used_at = now
        return pinned

    async def _pin(self, url: str, subject: str) -> _Pinned:
        """Resolves the name again. While the name server does not respond, the checked address
        remains in use. Raises CoreUnreachable.
        """
        try:
            parsed = parse_base_url(url)
        except ValueError as exc:
            raise CoreUnreachable(detail=f"the registered URL {exc}") from None
        addresses = await self.resolver.addresses(parsed.host, parsed.port, subject)
        current = self._find_now(url)
        if current is not None:  # another request has resolved the name
            return current
        previous, now = self._pinned.get(url), time.monotonic()
        if previous is not None and addresses is None:
            addresses = (previous.address,)
        candidates = [ipaddress.ip_address(address) for address in addresses or ()]
        error = rejection(candidates, self.networks)
        if error or not addresses:
            self.forget(url)
            raise CoreUnreachable(detail=f"the registered URL {error}")
        if previous is not None and previous.address in addresses:
            previous.checked_at = previous.used_at = now
            return previous
        self.forget(url)
        self._forget_idle(now)
        pinned = self._pinned[url] = _Pinned(
            self._pool(parsed, addresses[0]), parsed, addresses[0], now, now
        )
        return pinned

    def forget(self, url: str) -> None:
        """Makes the next request resolve the name and connect again. Requests in progress are not
        affected.
        """
        pinned = self._pinned.pop(url, None)
        if pinned is not None:
            pinned.pool.retire()
            self._retired = [pool for pool in self._retired if pool.is_used]
            self._retired.append(pinned.pool)

    def _forget_idle(self, now: float) -> None:
        urls = sorted(self._pinned, key=lambda url: self._pinned[url].used_at)
        surplus = len(urls) + 1 - POOLS_MAX
        for index, url in enumerate(urls):
            if index >= surplus and now - self._pinned[url].used_at <= IDLE_POOL_S:
                break
            self.forget(url)

    def _pool(self, url: BaseUrl, address: str) -> ConnectionPool:
        tls = url.scheme == "https"
        return ConnectionPool(
            address, url.port, tls, url.host, self._writes, self._reads, self._idle
        )


@dataclass(slots=True, eq=False)
class Sending:
    """A request to a URL: a context, see `UpstreamClients.send`.

    is_sent: True if the server may have received a part of the request.
    """

    _clients: UpstreamClients
    _url: str
    _request: UpstreamRequest
    _subject: str
    _on_connect: Callable[[], None]
    is_sent: bool = False
    _pool: ConnectionPool = field(init=False)
    _connection: Connection = field(init=False)

    async def __aenter__(self) -> UpstreamResponse:
        request = self._request
        pinned = await self._clients.find(self._url, self._subject)
        declared = None if request.body is None else dict(request.headers).get("content-length")
        chunked = request.body is not None and declared is None
        head = request_head(request, pinned.url, chunked=chunked)
        pool = self._pool = pinned.pool
        connection = pool.acquire_idle(pinned.used_at)
        if connection is None:
            await in_task()
            connection = await self._clients.connect(pool, self._url, self._subject, request.sender)
        self._connection = connection
        try:
            self._on_connect()
            self.is_sent = True
            connection.start(
                request.method,
                head,
                request.body,
                length=None if declared is None else int(declared),
                upgrade=request.upgrade,
                timeout_s=request.timeout_s,
                sender=request.sender,
            )
            await connection.wait_for_head()
        except BaseException:
            pool.release(connection)
            raise
        return connection

    async def __aexit__(self, *_: object) -> None:
        self._pool.release(self._connection)


def request_head(request: UpstreamRequest, url: BaseUrl, *, chunked: bool) -> bytes:
    """Request line and headers of a request to a Core. Raises BadRequest if they cannot be sent
    unchanged.
    """
    lines = [
        f"{request.method} {url.path}{request.target} HTTP/1.1",
        f"host: {request.host or url.authority}",
    ]
    lines += map(": ".join, request.headers)
    if chunked:
        lines.append("transfer-encoding: chunked")
    try:
        head = "\r\n".join((*lines, "", "")).encode("ascii")
    except UnicodeEncodeError as exc:
        # The Core did not cause this error, so the circuit breaker must not count it as a failure.
        raise BadRequest("The request cannot be forwarded.", detail=type(exc).__name__) from exc
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise BadRequest(
            "The request cannot be forwarded.", detail="a header contains a line break or NUL"
        )
    return head
