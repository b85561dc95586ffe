"""Sends one request to an instance of a Core, and streams the response to the client."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass

import msgspec

from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import BadRequest, CoreOverloaded, CoreTimeout, CoreUnreachable
from gatehouse.core.origin import parse_base_url
from gatehouse.core.verification import RateLimitState
from gatehouse.features.cores.credentials import Credential
from gatehouse.features.cores.load_balancer import Attempt
from gatehouse.features.cores.response_cache import (
    CachedResponse,
    CacheKey,
    ResponseCache,
    is_cacheable,
    updated_headers,
)
from gatehouse.features.cores.service import credential_headers
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform.http import asgi
from gatehouse.platform.http.forwarding import CorePath, CoreUrls, returned
from gatehouse.platform.http_client.upstream import UpstreamRequest, UpstreamResponse
from gatehouse.services.gateway.asgi import RequestContext

#: Bodies up to this size are forwarded in one piece, which is faster than streaming them.
INLINE_BYTES_MAX = 65_536

#: Opens a WebSocket after a 101 response, and returns when it is closed. Last argument: headers of
#: the response to the client.
OpenWebSocket = Callable[[CoreRecord, UpstreamResponse, list[asgi.Header]], Awaitable[None]]

#: Raises Unauthorized if the key no longer permits a request in progress, and Unavailable.
Authorize = Callable[[], Awaitable[None]]

#: Statuses of responses without a body.
_NO_BODY = (204, 304)

#: Methods with the header Destination (RFC 4918, section 10.3).
_METHODS_WITH_DESTINATION = ("COPY", "MOVE")


def core_urls(context: RequestContext, path: CorePath, core: CoreRecord) -> CoreUrls:
    kept_prefix = "" if context.settings.strip_prefix else path.prefix
    return CoreUrls(path.prefix, kept_prefix, public_host(context, path), core.url)


def public_host(context: RequestContext, path: CorePath) -> str:
    """Host at which clients reach the Core, with an optional port. Empty if it is not known.

    The Host of the client is used only for a Core that receives it: a Core can use the value in
    links, also in responses that other clients receive.
    """
    if context.settings.forward_host:
        return context.header(b"host")
    service = context.service
    return f"{path.name}.{service.cores_domain}" if path.by_host else service.public_host


def sentence(error: ValueError) -> str:
    """The message of an error with a capital letter."""
    text = str(error)
    return text[0].upper() + text[1:]


@dataclass(slots=True)
class Forwarding:
    """One request to a Core: what an instance receives, and what the client receives.

    instances: returns the live instances of the Core. request: without the secret of an instance
        and the credential.
    authorize: called before the request is sent to an instance and before each part of the
        response. open_websocket: only for a WebSocket handshake.
    """

    context: RequestContext
    path: CorePath
    instances: Callable[[], list[CoreRecord]]
    request: UpstreamRequest
    limits: tuple[RateLimitState, ...]
    credential: Credential | None
    authorize: Authorize
    open_websocket: OpenWebSocket | None = None
    #: True if an instance may have received a part of the request.
    is_sent: bool = False
    #: None if the request cannot be served from the cache.
    _revalidation: "Revalidation | None" = None

    async def run(self) -> None:
        """Forwards the request to an instance, and retries once if the retry budget allows a retry.
        Raises NotFound, CoreNotRegistered, CoreUnreachable, CoreTimeout, CoreCircuitOpen,
        CoreOverloaded.
        """
        load_balancer = self.context.service.load_balancer
        await self.authorize()  # the request may have waited
        core = load_balancer.select(self.instances(), self.request)
        try:
            await self._respond(core, self._attempt(core, self.request_to(core)))
        except CoreUnreachable:
            if self.context.status:
                raise
            await self.authorize()
            other = load_balancer.select_for_retry(
                self.instances(), self.request, core, is_sent=self.is_sent
            )
            if other is None:
                raise
            await self._respond(other, self._attempt(other, self.request_to(other, whole=True)))

    def _attempt(self, core: CoreRecord, request: UpstreamRequest) -> Attempt:
        return self.context.service.load_balancer.send(core, request, self.context.displace)

    def request_to(self, core: CoreRecord, *, whole: bool = False) -> UpstreamRequest:
        """The request with the secret of an instance, the credential, and the ETag of the stored
        response. whole: the instance must send the whole response. Raises BadRequest,
        CoreNotRegistered, Unavailable.
        """
        own = credential_headers(self.context.service.pepper, core, self.credential)
        headers = [*self._headers(core), *own]
        revalidation = self._revalidation = self._find_stored(core)
        if revalidation is not None and revalidation.cached is not None:
            if whole:
                revalidation.cached = None
            else:
                headers.append(("if-none-match", revalidation.cached.etag))
        return msgspec.structs.replace(self.request, headers=headers)

    def _headers(self, core: CoreRecord) -> list[tuple[str, str]]:
        """The headers of the request. The URL in `Destination` is a URL of the instance."""
        headers = self.request.headers
        if self.request.method not in _METHODS_WITH_DESTINATION:
            return headers
        urls, host = core_urls(self.context, self.path, core), self.context.header(b"host")
        try:
            return [
                (name, urls.destination(value, host) if name == "destination" else value)
                for name, value in headers
            ]
        except ValueError as exc:
            raise BadRequest(sentence(exc)) from None

    def _find_stored(self, core: CoreRecord) -> "Revalidation | None":
        context, request = self.context, self.request
        cache = context.service.response_cache
        if (
            cache is None
            or request.body is not None
            or request.upgrade
            or not is_cacheable(context.method, context.fields)
        ):
            return None
        # The authority of the target URI, as the client sent it (RFC 9110, section 7.1).
        host = next(iter(context.values(b"host")), "").lower()
        uri = f"{context.scheme}://{host}{request.target}"
        encodings = ", ".join(context.values(b"accept-encoding"))
        key = (core.lease_id, core.url, uri, encodings)
        return Revalidation(cache, key, cache.find(key))

    async def _returned(
        self, core: CoreRecord, headers: list[tuple[str, str]], status: int
    ) -> list[asgi.Header]:
        """Headers of the response to the client, which are costly. Waits for a turn."""
        await self.context.turn()
        own = [*limit_headers(self.limits), *self.context.response_headers]
        replaced = [name for name, _ in own if name != b"vary"]
        if status in _NO_BODY:
            replaced.append(b"content-length")  # RFC 9110, section 8.6
        urls = core_urls(self.context, self.path, core)
        result = returned(headers, urls, self.request.target, replaced)
        request_id = self.context.request_id.encode()
        own.append((b"gatehouse-request-id", request_id))
        return [*result, *own, *asgi.missing([(b"x-request-id", request_id)], result)]

    async def _respond(self, core: CoreRecord, attempt: Attempt) -> None:
        exchange = self.context.exchange
        if exchange is not None:
            if exchange.disconnected:
                raise asgi.ClientGone
            exchange.is_cancelled_on_disconnect = True
        started, status = time.perf_counter(), 0
        try:
            async with attempt as response:
                status = response.status
                if status == 101 and self.open_websocket is not None:
                    if exchange is not None:
                        exchange.is_cancelled_on_disconnect = False
                    headers = await self._returned(core, response.headers, status)
                    await self.open_websocket(core, response, headers)
                else:
                    await self._send_response(core, response)
        except asyncio.CancelledError:
            if not self.context.is_displaced:
                raise
            # The Core may have processed the request.
            error = CoreTimeout if attempt.is_sent else CoreOverloaded
            raise error(detail="ended for another key") from None
        finally:
            if exchange is not None:
                exchange.is_cancelled_on_disconnect = False  # a refund continues
            self.is_sent = self.is_sent or attempt.is_sent
            if self.context.trace.sampled:
                self._add_span(core, status, time.perf_counter() - started)

    def _add_span(self, core: CoreRecord, status: int, seconds: float) -> None:
        """status: 0 if the Core did not respond."""
        context, trace, url = self.context, self.context.trace, parse_base_url(core.url)
        attributes: dict[str, str | int] = {
            "http.request.method": context.method,
            "url.full": url.url,
            "server.address": url.host,
            "server.port": url.port,
            "gatehouse.core": core.name,
            "gatehouse.instance": core.instance_id,
        }
        if status:
            attributes["http.response.status_code"] = status
        ids, failed = (trace.trace_id, trace.client_span_id, trace.span_id), not 0 < status < 400
        context.service.observer.tracer.add(
            context.method, "CLIENT", ids, seconds, attributes, failed=failed
        )

    async def _send_response(self, core: CoreRecord, response: UpstreamResponse) -> None:
        """Sends the response of the Core, or the stored response that it confirms."""
        context, revalidation, body = self.context, self._revalidation, None
        status, headers = response.status, response.headers
        if revalidation is not None:
            storable = revalidation.cache.storable(status, headers)
            status, headers, body, outcome = revalidation.apply(status, headers)
            context.service.observer.metrics.core_cache[outcome].inc()
            if body is not None or not storable:
                revalidation = None
        if context.is_head or status in _NO_BODY:
            body = b""
        lengths = [value for name, value in headers if name == "content-length"]
        length = int(lengths[0]) if lengths and lengths[0].isdigit() else -1
        if body is None and (response.is_complete or 0 <= length <= INLINE_BYTES_MAX):
            body = await response.read_all()
            if revalidation is not None:
                revalidation.store(response.headers, body)
        own_headers = await self._returned(core, headers, status)
        await self.authorize()
        if body is not None:
            await context.send_response(asgi.Response(status, own_headers, body))
            return
        context.status = status
        await context.send(
            {"type": "http.response.start", "status": status, "headers": own_headers}
        )
        kept = nullcontext(False) if revalidation is None else revalidation.cache.receiving(length)
        with kept as is_kept:
            received = bytearray()
            while (chunk := await response.read()) is not None:
                if revalidation is not None and is_kept:
                    received += chunk
                    if len(received) == length:
                        revalidation.store(response.headers, bytes(received))
                await self.authorize()
                await context.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await context.send({"type": "http.response.body", "body": b""})


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
