"""Sends requests to Cores. Each URL has one HTTP client, which is pinned to a checked address and streams in both directions.

As configured here, pyreqwest follows no redirects, decodes nothing, stores no cookies, uses no proxy from the environment and
adds no headers. The gateway resolves the host name, checks the address (cores/models.py) and passes it to the client with
`resolve`, so that the name cannot resolve to another address between the check and the connection (DNS rebinding). TLS still
verifies the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, RequestError, RequestTimeoutError
from pyreqwest.response import Response

from gatehouse.cores.models import Network, Origin, UpstreamRequest, parse_origin, rejection
from gatehouse.errors import BadRequest, CoreTimeout, CoreUnreachable

RESOLVE_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 3.0

#: Maximum time without data from a Core, before or during its response.
READ_TIMEOUT_S = 60.0

#: Time for which a checked address is used before the host name is resolved again.
PIN_S = 60.0

#: Clients that are unused for this long are closed: a Core behind a tunnel changes its URL often.
IDLE_CLIENT_S = 600.0

POOL_IDLE_S = 20.0


class SystemResolver:
    """Resolver of the operating system."""

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Distinct addresses of a host name, in the resolver's order. Empty if the name does not resolve in RESOLVE_TIMEOUT_S."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                results = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return ()
        # Removes a scope id (fe80::1%eth0): only the address is checked.
        return tuple(dict.fromkeys(str(result[4][0]).partition("%")[0] for result in results))


@dataclass(slots=True)
class _Pinned:
    client: Client
    address: str
    checked_at: float
    used_at: float


@dataclass(slots=True, eq=False)
class UpstreamClients:
    """HTTP clients of a worker. `networks`: private networks in which Cores are allowed."""

    resolver: SystemResolver
    networks: Sequence[Network]
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    _pinned: dict[str, _Pinned] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def close(self) -> None:
        """Closes all clients immediately, including those whose read timeout has not passed, and cancels their requests."""
        clients, self._pinned = list(self._pinned.values()), {}
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*(pinned.client.close() for pinned in clients), *self._closing, return_exceptions=True)

    @asynccontextmanager
    async def send(self, url: str, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        """Sends a request to an origin. The request ends when the context is left.

        Raises CoreUnreachable, CoreTimeout (no connection within CONNECT_TIMEOUT_S, or no data for `read_timeout_s`), and
        BadRequest for a request that cannot be sent.
        """
        client = await self._client(url)
        try:
            builder = client.request(request.method, url + request.target).headers(request.headers).streamed_read_buffer_limit(0)
            if isinstance(request.body, bytes):
                builder = builder.body_bytes(request.body)
            elif request.body is not None:
                builder = builder.body_stream(request.body)
            sent = builder.build_streamed()
        except (BuilderError, ValueError) as exc:
            # The Core did not cause this error, so the circuit breaker must not count it as a failure.
            raise BadRequest("The request cannot be forwarded.", detail=type(exc).__name__) from exc
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(sent)
            except RequestError as exc:
                error = _translated(exc)
                if isinstance(error, CoreUnreachable) and not error.sent:
                    self.forget(url)
                raise error from exc
            if response.status < 200:
                # The gateway requests no upgrade. A client that received 101 would send other protocols over the connection.
                raise CoreUnreachable(detail=f"unexpected status {response.status}")
            yield UpstreamResponse(response)

    async def _client(self, url: str) -> Client:
        now = time.monotonic()
        pinned = self._pinned.get(url)
        if pinned is not None and now - pinned.checked_at < PIN_S:
            pinned.used_at = now
            return pinned.client
        async with self._locks.setdefault(url, asyncio.Lock()):
            pinned = self._pinned.get(url)
            if pinned is None or now - pinned.checked_at >= PIN_S:
                pinned = await self._pin(url, pinned)
            return pinned.client

    async def _pin(self, url: str, previous: _Pinned | None) -> _Pinned:
        origin = parse_origin(url)
        if isinstance(origin, str):
            raise CoreUnreachable(detail=f"the registered URL {origin}", sent=False)
        addresses = await self.resolver.addresses(origin.host, origin.port)
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
        pinned = self._pinned[url] = _Pinned(self._build(origin, addresses[0]), addresses[0], now, now)
        return pinned

    def forget(self, url: str) -> None:
        """Makes the next request resolve the name and connect again. Requests in progress are not affected."""
        pinned = self._pinned.pop(url, None)
        if pinned is None:
            return
        # Closing a client cancels its requests, so it is closed after the read timeout.
        task = asyncio.create_task(_close_later(pinned.client, self.read_timeout_s))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _forget_idle(self, now: float) -> None:
        for url in [url for url, pinned in self._pinned.items() if now - pinned.used_at > IDLE_CLIENT_S]:
            self.forget(url)
            self._locks.pop(url, None)

    def _build(self, origin: Origin, address: str) -> Client:
        builder = (
            ClientBuilder()
            .follow_redirects(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .referer(False)
            .no_proxy()
            .default_cookie_store(False)
            .error_for_status(False)
            .http1_only()
            .tcp_nodelay(True)
            .connect_timeout(timedelta(seconds=self.connect_timeout_s))
            .read_timeout(timedelta(seconds=self.read_timeout_s))
            .pool_idle_timeout(timedelta(seconds=POOL_IDLE_S))
        )
        if origin.address is None:
            builder = builder.resolve(origin.host, address, 0)
        return builder.build()


async def _close_later(client: Client, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await client.close()


class UpstreamResponse:
    """Status and headers of a response, and its body.

    Header names are lower case. Reading raises CoreUnreachable, CoreTimeout.
    """

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status
        self.headers = _headers(response)

    async def read_all(self) -> bytes:
        """The whole body."""
        try:
            return bytes(await self._response.body_reader.bytes())
        except RequestError as exc:
            raise _translated(exc) from exc

    async def read(self) -> bytes | None:
        """The next chunk; None at the end."""
        try:
            chunk = await self._response.body_reader.read_chunk()
        except RequestError as exc:
            raise _translated(exc) from exc
        return None if chunk is None else bytes(chunk)


def _translated(exc: RequestError) -> CoreTimeout | CoreUnreachable:
    kind = type(exc).__name__
    # pyreqwest 0.15 reports every failure before the response headers as ConnectError or ConnectTimeoutError, including dropped
    # connections and read timeouts. Only the causes (hyper's text) distinguish them. If the text changes, fewer requests are
    # retried.
    if any(cause["message"] == "client error (Connect)" for cause in exc.details["causes"] or ()):
        return CoreUnreachable(detail=kind, sent=False)
    return CoreTimeout(detail=kind) if isinstance(exc, RequestTimeoutError) else CoreUnreachable(detail=kind)


def _headers(response: Response) -> list[tuple[str, str]]:
    try:
        return list(response.headers.items())
    except ValueError:
        # pyreqwest cannot return a value that is not ASCII as bytes, so the header is dropped.
        headers: list[tuple[str, str]] = []
        for name in dict.fromkeys(response.headers.keys()):
            try:
                headers += [(name, value) for value in response.headers.getall(name)]
            except ValueError:
                continue
        return headers
