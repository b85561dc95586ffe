"""Sends requests to Cores: one client a Core URL, pinned to an address that was checked; streams both ways; knows no key.

pyreqwest as it is set here follows no redirect, decodes nothing, keeps no cookies, uses no proxy of the environment and adds
no header of its own. The address is looked up by us, checked (core/origins.py) and given to the client with `resolve`, so the
name cannot point somewhere else between the check and the connection (DNS rebinding); TLS still verifies the name."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, RequestError, RequestTimeoutError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from gatehouse.cores.models import CoreRecord, Resolver, UpstreamReply, UpstreamRequest
from gatehouse.cores.origins import Network, Origin, parse_origin, refusal
from gatehouse.errors import BadRequest, CoreTimeout, CoreUnreachable

CONNECT_TIMEOUT_S = 3.0


#: Silence of a Core, before its answer or inside it, after which it is given up.
READ_TIMEOUT_S = 60.0


#: How long an address that was checked is used without looking the name up again.
PIN_S = 60.0


#: Clients of URLs that no request went to for this long are closed: a Core behind a tunnel changes its URL often.
IDLE_CLIENT_S = 600.0


POOL_IDLE_S = 20.0


class _Pinned:
    __slots__ = ("address", "checked_at", "client", "used_at")

    def __init__(self, client: Client, address: str, now: float) -> None:
        self.client = client
        self.address = address
        self.checked_at = now
        self.used_at = now


class UpstreamClients:
    """The Upstream port. Networks as in core/origins.py."""

    def __init__(
        self,
        resolver: Resolver,
        networks: Sequence[Network],
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._resolver = resolver
        self._networks = tuple(networks)
        self._connect_timeout = timedelta(seconds=connect_timeout_s)
        self._read_timeout = timedelta(seconds=read_timeout_s)
        self._pinned: dict[str, _Pinned] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    def exchange(self, core: CoreRecord, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        """Timeouts: connecting 3 s, silence 60 s. Failure side: closed, the client gets 502 or 504."""
        return self._exchange(core.url, request)

    def send(self, url: str, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        """Like `exchange`, to any origin; the same guard, the same errors."""
        return self._exchange(url, request)

    async def warm(self, url: str) -> None:
        """Makes the client of a URL ready, so that the first request does not pay for it."""
        await self._client(url)

    async def close(self) -> None:
        clients, self._pinned = list(self._pinned.values()), {}
        await asyncio.gather(*(pinned.client.close() for pinned in clients), *self._closing, return_exceptions=True)

    @asynccontextmanager
    async def _exchange(self, url: str, request: UpstreamRequest) -> AsyncIterator[UpstreamReply]:
        client = await self._client(url)
        try:
            builder = client.request(request.method, url + request.target).headers(request.headers).streamed_read_buffer_limit(0)
            if isinstance(request.body, bytes):
                builder = builder.body_bytes(request.body)
            elif request.body is not None:
                builder = builder.body_stream(request.body)
            sent = builder.build_streamed()
        except (BuilderError, ValueError) as exc:
            # No fault of the Core: it must not count as one that cannot be reached.
            raise BadRequest("The request holds something that cannot be passed on", detail=type(exc).__name__) from exc
        async with _Translated(sent, url, self) as reply:
            yield reply

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

    async def _pin(self, url: str, before: _Pinned | None) -> _Pinned:
        origin = parse_origin(url)
        if isinstance(origin, str):
            raise CoreUnreachable(detail=f"the registered URL {origin}", sent=False)
        addresses = await self._resolver.addresses(origin.host, origin.port)
        wrong = refusal((ipaddress.ip_address(address) for address in addresses), self._networks)
        if wrong:
            self.forget(url)
            raise CoreUnreachable(detail=f"the registered URL {wrong}", sent=False)
        now = time.monotonic()
        if before is not None and before.address in addresses:
            before.checked_at = now
            return before
        self.forget(url)
        self._forget_idle(now)
        pinned = self._pinned[url] = _Pinned(self._build(origin, addresses[0]), addresses[0], now)
        return pinned

    def forget(self, url: str) -> None:
        """The next request looks the name up again and connects anew; requests under way are not disturbed."""
        pinned = self._pinned.pop(url, None)
        if pinned is None:
            return
        # Closing a client cancels its requests, so it waits until the longest silence has passed and none can be left waiting.
        task = asyncio.create_task(_close_later(pinned.client, self._read_timeout.total_seconds()))
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
            .connect_timeout(self._connect_timeout)
            .read_timeout(self._read_timeout)
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


class _Translated:
    """A request under way, with pyreqwest's errors turned into ours."""

    __slots__ = ("_owner", "_request", "_url")

    def __init__(self, request: StreamRequest, url: str, owner: UpstreamClients) -> None:
        self._request = request
        self._url = url
        self._owner = owner

    async def __aenter__(self) -> UpstreamReply:
        try:
            return _Reply(await self._request.__aenter__())
        except RequestError as exc:
            ours = _ours(exc)
            if isinstance(ours, CoreUnreachable) and not ours.sent:
                self._owner.forget(self._url)
            raise ours from exc

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._request.__aexit__(kind, value, traceback)


class _Reply:
    """The UpstreamReply port."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status
        self.headers = _headers(response)

    async def read_all(self) -> bytes:
        try:
            return bytes(await self._response.body_reader.bytes())
        except RequestError as exc:
            raise _ours(exc) from exc

    async def read(self) -> bytes | None:
        try:
            piece = await self._response.body_reader.read_chunk()
        except RequestError as exc:
            raise _ours(exc) from exc
        return None if piece is None else bytes(piece)


def _ours(exc: RequestError) -> CoreTimeout | CoreUnreachable:
    kind = type(exc).__name__
    # pyreqwest 0.15 names every failure before the head ConnectError or ConnectTimeoutError, a dropped connection and a silent
    # Core too. Only the causes tell: this text is hyper's. Were it another one day, less would be sent again, never more.
    if any(cause["message"] == "client error (Connect)" for cause in exc.details["causes"] or ()):
        return CoreUnreachable(detail=kind, sent=False)
    return CoreTimeout(detail=kind) if isinstance(exc, RequestTimeoutError) else CoreUnreachable(detail=kind)


def _headers(response: Response) -> list[tuple[str, str]]:
    try:
        return list(response.headers.items())
    except ValueError:
        # A value that is not ASCII: pyreqwest offers no bytes, so that one header is left out and the others are kept.
        kept: list[tuple[str, str]] = []
        for name in dict.fromkeys(response.headers.keys()):
            try:
                kept += [(name, value) for value in response.headers.getall(name)]
            except ValueError:
                continue
        return kept
