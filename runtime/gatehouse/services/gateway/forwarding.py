"""Sends one request to an instance of a Core, and streams the response to the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import CoreNotRegistered, CoreUnreachable
from gatehouse.core.verification import RateLimitState
from gatehouse.features.cores.load_balancer import Reservation
from gatehouse.features.cores.response_cache import (
    CachedResponse,
    CacheKey,
    ResponseCache,
    is_cacheable,
    updated_headers,
)
from gatehouse.features.cores.service import core_secret
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform.http import asgi, forwarding
from gatehouse.platform.http_client.upstream import UpstreamRequest, UpstreamResponse
from gatehouse.services.gateway.asgi import Dependencies, RequestContext

#: Bodies up to this size are forwarded in one piece, which is faster than streaming them.
INLINE_BYTES_MAX = 65_536

#: Time in seconds after which a task starts to listen for a client disconnect. Most requests end
#: earlier and do not need the task.
_WATCH_AFTER_S = 0.1

#: Opens a WebSocket after a 101 response, and returns when it is closed. Last argument: headers of
#: the response to the client.
OpenWebSocket = Callable[[CoreRecord, UpstreamResponse, list[asgi.Header]], Awaitable[None]]


class SentRequest(msgspec.Struct):
    """A request that has been sent to an instance. instances: live instances of the Core when the
    request was sent. revalidation: None if the request cannot be served from the cache."""

    reservation: Reservation
    instances: list[CoreRecord]
    revalidation: Revalidation | None = None


#: Statuses of responses without a body.
_NO_BODY = (204, 304)


def has_body(method: str, status: int) -> bool:
    """True if a response has a body, which may be empty."""
    return method != "HEAD" and status not in _NO_BODY


def size_of_body(headers: Sequence[tuple[str, str]]) -> int | None:
    """Size of the body of a response in bytes, or None if the size is not declared."""
    return next(
        (int(value) for name, value in headers if name == "content-length" and value.isdigit()),
        None,
    )


def core_headers(
    headers: Sequence[tuple[str, str]], status: int, replaced: Iterable[bytes]
) -> list[asgi.Header]:
    """Headers of a response from a Core that the client receives. replaced: names of the headers
    that the gateway sets.
    """
    if status in _NO_BODY:
        replaced = [*replaced, b"content-length"]  # uvicorn would expect a body
    return forwarding.returned(headers, replaced, handshake=status == 101)


def added_headers(rate: Iterable[asgi.Header], request_id: str) -> list[asgi.Header]:
    """Headers that the gateway adds to a response from a Core. rate: see `limit_headers`."""
    return [*rate, (b"x-request-id", request_id.encode())]


def accept_encoding(context: RequestContext) -> str:
    return ", ".join(context.values(b"accept-encoding"))


def scheme(context: RequestContext) -> str:
    """Scheme that the client used, as reported by trusted proxies."""
    proto = (
        context.values(b"x-forwarded-proto")
        if context.dependencies.addresses.trusts(context.peer)
        else []
    )
    return "https" if proto[-1:] == ["https"] else str(context.scope["scheme"])


def origin(context: RequestContext) -> str:
    """Scheme and authority of the target URI of a request (RFC 9110, section 7.1)."""
    return f"{scheme(context)}://{next(iter(context.values(b'host')), '').lower()}"


def revalidation(
    dependencies: Dependencies, core: CoreRecord, uri: str, encodings: str
) -> Revalidation | None:
    """State for the use of the cache by a cacheable request, or None if the cache is disabled. uri:
    see `CacheKey`. encodings: see `accept_encoding`."""
    cache = dependencies.response_cache
    if cache is None:
        return None
    key = (core.name, core.lease_id, uri, encodings)
    return Revalidation(cache, key, cache.find(key))


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Sends one request to a Core and the response from the Core to the client.

    instances: live instances of the Core. request: without the secret of an instance.
    open_websocket: only for a WebSocket handshake.
    """

    context: RequestContext
    instances: list[CoreRecord]
    request: UpstreamRequest
    limits: tuple[RateLimitState, ...]
    open_websocket: OpenWebSocket | None = None

    async def run(self, sent: SentRequest | None = None) -> None:
        """Forwards the request to an instance, and retries once if the retry budget allows a retry.
        Raises CoreUnreachable, CoreTimeout, CoreCircuitOpen, CoreOverloaded.

        sent: if the request has already been sent to an instance.
        """
        load_balancer = self.context.dependencies.load_balancer
        if sent is None:
            core = load_balancer.select(self.instances, self.request)
            revalidation = self.revalidation(core)
        else:
            core, revalidation = sent.reservation.core, sent.revalidation
        try:
            await self._send(core, revalidation, None if sent is None else sent.reservation)
        except CoreUnreachable as exc:
            if self.context.status:
                raise
            other = load_balancer.select_for_retry(self.instances, self.request, core, exc)
            if other is None:
                raise
            revalidation = self.revalidation(other)
            if revalidation is not None:
                revalidation.cached = None  # the retry requests the whole response
            await self._send(other, revalidation)

    def revalidation(self, core: CoreRecord) -> Revalidation | None:
        """State for the use of the cache, or None if the request cannot be served from the
        cache.
        """
        context = self.context
        if (
            self.request.body is not None
            or self.request.upgrade
            or not is_cacheable(context.method, context.fields)
        ):
            return None
        return revalidation(
            context.dependencies,
            core,
            origin(context) + self.request.target,
            accept_encoding(context),
        )

    async def _send(
        self, core: CoreRecord, revalidation: Revalidation | None, sent: Reservation | None = None
    ) -> None:
        watcher = _DisconnectWatcher(
            self.context, armed=self.request.body is None or isinstance(self.request.body, bytes)
        )
        started, status = time.perf_counter(), 0
        try:
            if sent is not None:
                watcher.start()
                async with sent.response() as response:
                    status = response.status
                    await self._respond(core, response, watcher, revalidation)
                return
            request = self.for_instance(core, revalidation)
            async with self.context.dependencies.load_balancer.send(core, request) as response:
                status = response.status
                await self._respond(core, response, watcher, revalidation)
        except asyncio.CancelledError:
            if watcher.client_gone:
                raise asgi.ClientGone from None
            raise
        finally:
            watcher.stop()
            self._trace(core, status, time.perf_counter() - started)

    def _trace(self, core: CoreRecord, status: int, seconds: float) -> None:
        context = self.context
        if context.trace.sampled:
            names = {"method": context.method, "core": core.name, "instance": core.instance_id}
            context.dependencies.observer.tracer.request_to_core(
                context.trace, **names, status=status, seconds=seconds
            )

    def for_instance(self, core: CoreRecord, revalidation: Revalidation | None) -> UpstreamRequest:
        """The request with the secret of an instance and the ETag of the stored response. Raises
        CoreNotRegistered.
        """
        secret = core_secret(self.context.dependencies.pepper, core)
        if secret is None:
            raise CoreNotRegistered
        headers = [*self.request.headers, ("authorization", f"Bearer {secret}")]
        if revalidation is not None and revalidation.cached is not None:
            headers.append(("if-none-match", revalidation.cached.etag))
        return msgspec.structs.replace(self.request, headers=headers)

    async def _respond(
        self,
        core: CoreRecord,
        response: UpstreamResponse,
        watcher: _DisconnectWatcher,
        revalidation: Revalidation | None,
    ) -> None:
        """Sends the response of the Core, or the stored response that it confirms."""
        if response.status == 101 and self.open_websocket is not None:
            watcher.stop()
            await self.open_websocket(core, response, self.returned(response.headers, 101))
            return
        status, headers, stored = response.status, response.headers, None
        if revalidation is not None:
            status, headers, stored, outcome = revalidation.apply(status, headers)
            self.context.dependencies.observer.metrics.core_cache(outcome)
            if stored is not None or not revalidation.cache.storable(
                response.status, response.headers
            ):
                revalidation = None  # nothing to store
        body = await self._complete_body(response, status, headers, stored)
        if body is None:
            watcher.start()
        self.context.status = status
        await self.context.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": self.returned(headers, status),
            }
        )
        if body is None:
            await self._stream(response, size_of_body(headers), revalidation)
            return
        if revalidation is not None:
            revalidation.store(response.headers, body)
        await self.context.send({"type": "http.response.body", "body": body})

    async def _complete_body(
        self,
        response: UpstreamResponse,
        status: int,
        headers: list[tuple[str, str]],
        stored: bytes | None,
    ) -> bytes | None:
        """The body of a stored, empty or small response, or None for a response to be streamed."""
        if not has_body(self.context.method, status):
            return b""
        length = size_of_body(headers)
        if stored is None and length is not None and length <= INLINE_BYTES_MAX:
            return await response.read_all()
        return stored

    async def _stream(
        self, response: UpstreamResponse, length: int | None, revalidation: Revalidation | None
    ) -> None:
        """Sends the body as it arrives, and stores it if it is complete."""
        send, received = self.context.send, bytearray()
        while (chunk := await response.read()) is not None:
            if revalidation is not None:
                received += chunk
                if len(received) == length:
                    revalidation.store(response.headers, bytes(received))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def returned(self, headers: list[tuple[str, str]], status: int) -> list[asgi.Header]:
        """Headers of the response to the client."""
        rate = limit_headers(self.limits)
        returned = core_headers(headers, status, [name for name, _ in rate])
        return [*returned, *added_headers(rate, self.context.request_id)]


class Revalidation(msgspec.Struct):
    """State of one request that uses the response cache. `cached`: the stored response, if any."""

    cache: ResponseCache
    key: CacheKey
    cached: CachedResponse | None

    def apply(
        self, status: int, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes | None, str]:
        """Replaces a 304 response with the stored response. Any other response below status 500
        removes the stored response.

        Returns status, headers, body (None: the body that the Core sends), and the outcome for the
        metric. Raises CoreUnreachable.
        """
        if self.cached is None:
            return status, headers, None, "miss"
        if status == 304:
            merged = updated_headers(self.cached, headers)
            if merged is None:
                self.cache.drop(self.key)
                raise CoreUnreachable(detail="304 that does not confirm the stored response")
            self.store(merged, self.cached.body)
            return 200, merged, self.cached.body, "hit"
        if status < 500:
            self.cache.drop(self.key)
        return status, headers, None, "changed"

    def store(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self.cache.store(self.key, headers, body)


class _DisconnectWatcher:
    """Cancels the request when its client disconnects, so that the Core does not continue unneeded
    work.

    Active only while nothing else reads from the client; a streaming request body detects the
    disconnect itself.
    """

    def __init__(self, context: RequestContext, *, armed: bool) -> None:
        self.client_gone = False
        self._context = context
        self._owner = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None
        self._timer = (
            asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self.start) if armed else None
        )

    def start(self) -> None:
        if self._timer is not None and self._task is None:
            self._task = asyncio.create_task(self._listen())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()

    async def _listen(self) -> None:
        while (await self._context.receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        if self._owner is not None:
            self._owner.cancel()
