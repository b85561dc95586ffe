"""ANY /cores/{name}/{path}: verifies the token, then streams the request to the Core and the response to the client.

The Core receives neither the token nor headers that only the gateway may set: it gets its own secret, the id and owner of the
key, and the checked client address. The path is forwarded as received, so that only the Core decodes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gatehouse.clock import Clock
from gatehouse.cores.circuit_breaker import CircuitBreakers
from gatehouse.cores.models import CoreRecord, UpstreamRequest
from gatehouse.cores.repository import CoreRegistry
from gatehouse.cores.response_cache import CachedResponse, CacheKey, ResponseCache, is_cacheable, updated_headers
from gatehouse.cores.service import core_secret
from gatehouse.cores.upstream import UpstreamResponse
from gatehouse.crypto.http_signatures import digests_of, is_signed
from gatehouse.crypto.token import Pepper
from gatehouse.errors import (
    BadRequest,
    CoreCircuitOpen,
    CoreNotRegistered,
    CoreTimeout,
    CoreUnreachable,
    GatehouseError,
    MethodNotAllowed,
    NotFound,
    UpgradeUnsupported,
)
from gatehouse.gateway.credentials import challenge, denial, deny, missing, presented_token
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http import headers as fields
from gatehouse.http.paths import CORE_NAME, CorePath, core_path
from gatehouse.keys.models import KeyRecord
from gatehouse.observability import Metrics
from gatehouse.verification.models import RateLimitState, SignedRequest, VerificationRequest
from gatehouse.verification.schemas import limit_headers
from gatehouse.verification.service import VerificationService

SCOPE = "cores:read"

#: Bodies up to this size are forwarded in one piece, which is 1.5 times as fast as streaming them (measured in bench/).
INLINE_BYTES_MAX = 65_536

_REJECTED_METHODS = frozenset({"CONNECT", "TRACE"})

#: Body of a request, and the header that frames it.
FramedBody = tuple[bytes | AsyncIterator[bytes] | None, list[tuple[str, str]]]

#: A disconnected client is only noticed by a task that listens for it. Most requests end before that task is worth its cost.
_WATCH_AFTER_S = 0.1


class Proxy:
    def __init__(
        self,
        verification: VerificationService,
        cores: CoreRegistry,
        circuit_breakers: CircuitBreakers,
        pepper: Pepper,
        clock: Clock,
        addresses: asgi.ClientAddresses,
        metrics: Metrics,
        *,
        body_max_bytes: int,
        cache: ResponseCache | None = None,
    ) -> None:
        """body_max_bytes: largest body of a signed request. cache: None disables caching."""
        self._verification = verification
        self._cores = cores
        self._circuit_breakers = circuit_breakers
        self._pepper = pepper
        self._clock = clock
        self._addresses = addresses
        self._metrics = metrics
        self._body_max_bytes = body_max_bytes
        self._cache = cache

    async def __call__(self, context: RequestContext) -> None:
        path = _checked_path(context)
        token = presented_token(context)
        if token is None:
            await context.fail(missing(), headers=challenge(invalid=False))
            return
        body: bytes | None = None
        signed: SignedRequest | None = None
        if is_signed(context.values(b"signature-input")):
            # The body of a signed request is read and verified before any of it is forwarded; a larger one is rejected (413).
            body = await asgi.read_body(context.receive, self._body_max_bytes) if _has_body(context) else None
            signed = self._signed_request(context, body)
        address = context.client(self._addresses)
        request = VerificationRequest(scopes=(SCOPE,), core=path.name, address=address, method=context.method, signed=signed)
        result = await self._verification.verify(token, request)
        self._metrics.by_code[result.code].inc()
        context.verified(result, path.name)
        error = denial(result)
        if error is not None or result.record is None:
            await deny(context, result, error or missing())
            return
        try:
            core, secret = self._find_core(path.name)
            framed = await _framed_body(context) if signed is None else _framed(body)
            await self._forward(context, core, secret, path.path, result.record, result.limits, framed)
        except GatehouseError as exc:
            if context.status:
                raise  # the response has started: closing the connection is the only way to report the error
            if isinstance(exc, CoreUnreachable | CoreTimeout | CoreNotRegistered | CoreCircuitOpen):
                self._metrics.core_errors.labels(exc.code).inc()
            context.detail = f"{exc.code} {exc.detail}".strip()
            retry_after = [(b"retry-after", str(exc.retry_after_s).encode())] if isinstance(exc, CoreCircuitOpen) else []
            await context.fail(exc, headers=[*limit_headers(result.limits), *retry_after])

    def _find_core(self, name: str) -> tuple[CoreRecord, str]:
        core = self._cores.find(name) if CORE_NAME.fullmatch(name) else None
        if core is None or core.environment is not self._verification.environment:
            raise NotFound("No Core has this name")
        secret = core_secret(self._pepper, core)
        if core.draining or core.expires_at <= self._clock.now() or secret is None:
            raise CoreNotRegistered
        return core, secret

    async def _forward(
        self,
        context: RequestContext,
        core: CoreRecord,
        secret: str,
        path: str,
        key: KeyRecord,
        limits: tuple[RateLimitState, ...],
        framed: FramedBody,
    ) -> None:
        query = context.scope["query_string"].decode("ascii")
        body, framing = framed
        request = UpstreamRequest(
            method=context.method,
            target=f"{path}?{query}" if query else path,
            headers=[*fields.forwarded(context.fields), *framing, *self._gateway_headers(context, secret, key)],
            body=body,
        )
        revalidation = self._revalidation(context, core, request)
        if revalidation is not None and revalidation.cached is not None:
            request.headers.append(("if-none-match", revalidation.cached.etag))
        try:
            await self._exchange(context, core, request, limits, revalidation)
            return
        except CoreUnreachable as exc:
            if context.status or not self._circuit_breakers.is_retryable(core, request, exc):
                raise
        if revalidation is not None and revalidation.cached is not None:
            # The retry requests the whole response.
            request.headers.remove(("if-none-match", revalidation.cached.etag))
            revalidation.cached = None
        await self._exchange(context, core, request, limits, revalidation)

    def _revalidation(self, context: RequestContext, core: CoreRecord, request: UpstreamRequest) -> _Revalidation | None:
        """None if the request cannot be served from the cache."""
        if self._cache is None or request.body is not None or not is_cacheable(context.method, context.fields):
            return None
        key = (core.name, core.lease_id, request.target, ", ".join(context.values(b"accept-encoding")))
        return _Revalidation(self._cache, key, self._cache.find(key))

    def _gateway_headers(self, context: RequestContext, secret: str, key: KeyRecord) -> list[tuple[str, str]]:
        """Headers that the gateway sets. The client's own headers of these names were removed."""
        headers = [
            ("authorization", f"Bearer {secret}"),
            ("gatehouse-key-id", key.id),
            ("gatehouse-request-id", context.request_id),
            ("x-forwarded-for", self._addresses.client(context.peer, context.values(b"x-forwarded-for"))),
            ("x-forwarded-proto", self._scheme(context)),
        ]
        host = context.values(b"host")
        if host:
            headers.append(("x-forwarded-host", host[0]))
        if key.owner and key.owner.isascii() and key.owner.isprintable():
            headers.append(("gatehouse-key-owner", key.owner))
        if not any(name == b"accept" for name, _ in context.fields):
            headers.append(("accept", "*/*"))
        if not any(name == b"user-agent" for name, _ in context.fields):
            headers.append(("user-agent", "gatehouse"))
        return headers

    def _scheme(self, context: RequestContext) -> str:
        """Scheme that the client used, as reported by trusted proxies."""
        proto = context.values(b"x-forwarded-proto") if self._addresses.trusts(context.peer) else []
        return "https" if proto[-1:] == ["https"] else str(context.scope["scheme"])

    def _signed_request(self, context: RequestContext, body: bytes | None) -> SignedRequest:
        return SignedRequest(
            method=context.method,
            scheme=self._scheme(context),
            authority=next(iter(context.values(b"host")), ""),
            path=context.raw_path.decode("ascii"),
            query=context.scope["query_string"].decode("ascii"),
            fields=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in context.fields),
            has_body=bool(body),
            digests=digests_of(body or b""),
        )

    async def _exchange(
        self,
        context: RequestContext,
        core: CoreRecord,
        request: UpstreamRequest,
        limits: tuple[RateLimitState, ...],
        revalidation: _Revalidation | None,
    ) -> None:
        watcher = _DisconnectWatcher(context, armed=request.body is None or isinstance(request.body, bytes))
        try:
            async with self._circuit_breakers.send(core, request) as response:
                await self._respond(context, response, limits, watcher, revalidation)
        except asyncio.CancelledError:
            if watcher.client_gone:
                raise asgi.ClientGone from None
            raise
        finally:
            watcher.stop()

    async def _respond(
        self,
        context: RequestContext,
        response: UpstreamResponse,
        limits: tuple[RateLimitState, ...],
        watcher: _DisconnectWatcher,
        revalidation: _Revalidation | None,
    ) -> None:
        status, headers, body = response.status, response.headers, None
        if revalidation is not None:
            status, headers, body = revalidation.apply(status, headers)
            outcome = "hit" if body is not None else "changed" if revalidation.cached else "miss"
            self._metrics.core_cache.labels(outcome).inc()
        rate = limit_headers(limits)
        returned = fields.returned(headers, replaced=[name for name, _ in rate])
        returned += [*rate, (b"x-request-id", context.request_id.encode())]
        if context.is_head or status in (204, 304):
            inline: bytes | None = b""
        else:
            inline = body
        length = next((int(value) for name, value in returned if name == b"content-length" and value.isdigit()), None)
        if inline is None and length is not None and length <= INLINE_BYTES_MAX:
            inline = await response.read_all()
        if inline is None:
            watcher.start()
        store = revalidation is not None and body is None and revalidation.cache.storable(response.status, response.headers)
        context.status = status
        await context.send({"type": "http.response.start", "status": status, "headers": returned})
        if inline is not None:
            if store and revalidation is not None:
                revalidation.store(response.headers, inline)
            await context.send({"type": "http.response.body", "body": inline})
            return
        received = bytearray()
        while (chunk := await response.read()) is not None:
            if store and revalidation is not None:
                received += chunk
                if len(received) == length:
                    revalidation.store(response.headers, bytes(received))
            await context.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await context.send({"type": "http.response.body", "body": b""})


class _Revalidation:
    """Use of the response cache by one request. `cached`: the stored response, if there is one."""

    def __init__(self, cache: ResponseCache, key: CacheKey, cached: CachedResponse | None) -> None:
        self.cache = cache
        self.cached = cached
        self._key = key

    def apply(self, status: int, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]], bytes | None]:
        """Replaces a 304 by the stored response. Any other response below 500 removes the stored one."""
        if self.cached is None:
            return status, headers, None
        if status == 304:
            merged = updated_headers(self.cached, headers)
            if merged is None:
                self.cache.drop(self._key)
                raise CoreUnreachable(detail="304 that does not confirm the stored response")
            return 200, merged, self.cached.body
        if status < 500:
            self.cache.drop(self._key)
        return status, headers, None

    def store(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self.cache.store(self._key, headers, body)


class _DisconnectWatcher:
    """Cancels the request when its client disconnects, so that the Core does not work in vain.

    Only armed while nothing else reads from the client; a streaming request body detects the disconnect itself. Once the
    response is streaming, the connection to the Core is closed immediately. Before that, pyreqwest 0.15 cannot cancel a
    request: the gateway stops waiting, and the response of the Core or the read timeout ends the connection.
    """

    def __init__(self, context: RequestContext, *, armed: bool) -> None:
        self.client_gone = False
        self._context = context
        self._owner = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self.start) if armed else None

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


def _checked_path(context: RequestContext) -> CorePath:
    """Rejects requests that two servers could interpret differently, before any decision is made on them."""
    if context.method in _REJECTED_METHODS:
        raise MethodNotAllowed
    if context.values(b"upgrade"):
        raise UpgradeUnsupported("The gateway does not forward WebSocket and other upgrades; use plain HTTP")
    path = core_path(context.raw_path)
    query: bytes = context.scope["query_string"]
    problem = path if isinstance(path, str) else fields.ambiguity(context.fields)
    if not problem and query and (not query.isascii() or b"#" in query or any(byte <= 0x20 or byte == 0x7F for byte in query)):
        problem = "the query contains a space, control or non-ASCII byte, or a raw #; percent-encode it"
    if problem or isinstance(path, str):
        raise BadRequest(problem[0].upper() + problem[1:])
    return path


def _has_body(context: RequestContext) -> bool:
    return bool(context.values(b"content-length") or context.values(b"transfer-encoding"))


def _framed(body: bytes | None) -> FramedBody:
    return body, [] if body is None else [("content-length", str(len(body)))]


async def _framed_body(context: RequestContext) -> FramedBody:
    """The request body and the header that frames it: nothing, a small body as bytes, or a stream."""
    length = context.values(b"content-length")
    if not length:
        return (_chunks(context), []) if context.values(b"transfer-encoding") else (None, [])
    if not length[0].isdigit():
        raise BadRequest("The header content-length is not a number")
    size = int(length[0])
    if size > INLINE_BYTES_MAX:
        return _chunks(context), [("content-length", str(size))]
    # Sent even if it is zero: some servers answer 411 to a POST without it.
    return await asgi.read_body(context.receive, INLINE_BYTES_MAX), [("content-length", str(size))]


async def _chunks(context: RequestContext) -> AsyncIterator[bytes]:
    while True:
        message = await context.receive()
        if message["type"] == "http.disconnect":
            raise asgi.ClientGone
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return
