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
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from gatehouse.core.addresses import Network
from gatehouse.core.errors import BadRequest, CoreUnreachable
from gatehouse.core.origin import BaseUrl, parse_base_url, rejection
from gatehouse.platform.batched_writes import BatchedWrites
from gatehouse.platform.executions import in_task
from gatehouse.platform.http_client.connections import Connection, ConnectionPool


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request to a Core. `target`: raw path and query, below the path of the URL of the Core.
    `body`: None, bytes, or a stream of bytes. `upgrade`: the request asks for another protocol, so
    the Core may respond with status 101.

    host: value of the header Host. Empty for the host of the URL.
    timeout_s: maximum time in seconds without data from the Core, before and during the response.
    client: identifies the client to the circuit breaker.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None
    upgrade: bool = False
    host: str = ""
    timeout_s: float = 60.0
    client: str = ""

    def __repr__(self) -> str:
        return f"UpstreamRequest({self.method})"


RESOLVE_TIMEOUT_S = 3.0

#: Time for which a checked address is used before the host name is resolved again.
PIN_S = 60.0

#: Pools that are unused for this long are closed: a Core behind a tunnel changes its URL often.
IDLE_POOL_S = 600.0


class SystemResolver:
    """Resolver of the operating system."""

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Distinct addresses of a host name, in the resolver's order. Empty if the name does not
        resolve in RESOLVE_TIMEOUT_S.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                results = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return ()
        # Removes a scope ID (fe80::1%eth0): only the address is checked.
        return tuple(dict.fromkeys(str(result[4][0]).partition("%")[0] for result in results))


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
    _pinned: dict[str, _Pinned] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    #: Pools that were replaced while requests were in progress.
    _retired: list[ConnectionPool] = field(default_factory=list)

    async def close(self) -> None:
        """Closes all connections and cancels their requests."""
        pools, self._pinned = (
            [*self._retired, *(pinned.pool for pinned in self._pinned.values())],
            {},
        )
        for pool in pools:
            pool.close()

    @asynccontextmanager
    async def send(self, url: str, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        """Sends a request below a URL. The request ends when the context exits.

        Raises CoreUnreachable, CoreTimeout (no data for `timeout_s`), the errors of a streamed
        body, and BadRequest for a request that cannot be sent.
        """
        pinned = self._find_now(url)
        if pinned is None:
            await in_task()
            pinned = await self._find(url)
        has_length = any(name == "content-length" for name, _ in request.headers)
        chunked = not has_length and request.body is not None
        head = request_head(request, pinned.url, chunked=chunked)
        connection = pinned.pool.acquire_idle(pinned.used_at)
        if connection is None:
            await in_task()
            try:
                connection = await pinned.pool.connect()
            except CoreUnreachable:
                self.forget(url)
                raise
        try:
            connection.start(
                request.method,
                head,
                request.body,
                chunked=chunked,
                upgrade=request.upgrade,
                timeout_s=request.timeout_s,
            )
            await connection.wait_for_head()
            yield UpstreamResponse(connection)
        finally:
            pinned.pool.release(connection)

    def _find_now(self, url: str) -> _Pinned | None:
        """The pool of a URL, or None if its address has to be checked."""
        pinned, now = self._pinned.get(url), time.monotonic()
        if pinned is None or now - pinned.checked_at >= PIN_S:
            return None
        pinned.used_at = now
        return pinned

    async def _find(self, url: str) -> _Pinned:
        async with self._locks.setdefault(url, asyncio.Lock()):
            return self._find_now(url) or await self._pin(url, self._pinned.get(url))

    async def _pin(self, url: str, previous: _Pinned | None) -> _Pinned:
        try:
            parsed = parse_base_url(url)
        except ValueError as exc:
            raise CoreUnreachable(detail=f"the registered URL {exc}", sent=False) from None
        addresses = await self.resolver.addresses(parsed.host, parsed.port)
        error = rejection((ipaddress.ip_address(address) for address in addresses), self.networks)
        if error:
            self.forget(url)
            raise CoreUnreachable(detail=f"the registered URL {error}", sent=False)
        now = time.monotonic()
        if previous is not None and previous.address in addresses:
            previous.checked_at = now
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
        for url in [
            url for url, pinned in self._pinned.items() if now - pinned.used_at > IDLE_POOL_S
        ]:
            self.forget(url)
            self._locks.pop(url, None)

    def _pool(self, url: BaseUrl, address: str) -> ConnectionPool:
        return ConnectionPool(
            address,
            url.port,
            tls=url.scheme == "https",
            host=url.host,
            writes=self._writes,
        )


def request_head(request: UpstreamRequest, url: BaseUrl, *, chunked: bool) -> bytes:
    """Request line and headers of a request to a Core. Raises BadRequest if they cannot be sent
    unchanged.
    """
    lines = [
        f"{request.method} {url.path}{request.target} HTTP/1.1",
        f"host: {request.host or url.authority}",
    ]
    lines += [f"{name}: {value}" for name, value in request.headers]
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


class UpstreamResponse:
    """Status and headers of a response, and its body. Header names are lowercase."""

    __slots__ = ("_connection", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = connection.status
        self.headers = connection.headers

    @property
    def is_complete(self) -> bool:
        """True if the whole response has been received."""
        return self._connection.is_complete

    async def read_all(self) -> bytes:
        """The whole body. Raises CoreUnreachable, CoreTimeout."""
        parts = []
        while (part := await self.read()) is not None:
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read(self) -> bytes | None:
        """The next part of the body; None at the end. Raises CoreUnreachable, CoreTimeout."""
        return await self._connection.read()

    def upgrade(self, protocol: asyncio.Protocol) -> bytes:
        """Passes the connection to another protocol after status 101. See `Connection.upgrade`."""
        return self._connection.upgrade(protocol)
