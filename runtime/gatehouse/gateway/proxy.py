"""Reverse proxy: verifies the key, then streams the request to the Core and the response to the client.

The Core receives neither the token nor client values for headers that only the gateway may set. The gateway sends the
secret of the Core, the ID and owner of the key, and the checked client address. The path is forwarded as received, so that only
the Core decodes the path.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass

import msgspec

from gatehouse.cores.models import CoreRecord, UpstreamRequest
from gatehouse.cores.response_cache import (
    CachedResponse,
    CacheKey,
    ResponseCache,
    Validation,
    is_cacheable,
    requires_validation,
    updated_headers,
)
from gatehouse.cores.service import core_secret, live_instances
from gatehouse.cores.upstream import UpstreamResponse
from gatehouse.crypto.http_signatures import digests_of, is_signed
from gatehouse.errors import (
    BadRequest,
    CoreCircuitOpen,
    CoreNotRegistered,
    CoreOverloaded,
    CoreTimeout,
    CoreUnreachable,
    GatehouseError,
    MethodNotAllowed,
    Unauthorized,
    UpgradeRequired,
    UpgradeUnsupported,
)
from gatehouse.gateway.asgi import Dependencies, RequestContext
from gatehouse.gateway.credentials import authenticate, presented_token
from gatehouse.http import asgi, forwarding, websocket
from gatehouse.http.forwarding import CorePath, core_path
from gatehouse.keys.models import KeyRecord
from gatehouse.operations.features import WEBSOCKET
from gatehouse.verification.models import RateLimitState, SignedRequest, VerificationRequest
from gatehouse.verification.schemas import limit_headers

SCOPE = "cores:read"

#: Bodies up to this size are forwarded in one piece, which is faster than streaming them.
INLINE_BYTES_MAX = 65_536

#: Body of a request, and the header that declares the length or framing of the body.
FramedBody = tuple[bytes | AsyncIterator[bytes] | None, list[tuple[str, str]]]

#: Time in seconds after which a task starts to listen for a client disconnect. Most requests end earlier and do not need the
#: task.
_WATCH_AFTER_S = 0.1


async def forward(context: RequestContext) -> None:
    """Forward a request to a Core.

    Verifies the key, forwards the request with its path, query and body, and returns the response from the Core. A WebSocket
    handshake is forwarded too; if the Core accepts it, the response has status 101.
    """
    path = _checked_path(context)
    handshake = _handshake(context)
    token = presented_token(context)
    dependencies = context.dependencies
    body: bytes | None = None
    signed: SignedRequest | None = None
    if token is not None and is_signed(context.values(b"signature-input")):
        # The body of a signed request is read and verified before any of it is forwarded. A body above the size limit results in
        # status 413.
        has_body = bool(context.values(b"content-length") or context.values(b"transfer-encoding"))
        body = await asgi.read_body(context.receive, dependencies.body_max_bytes) if has_body else None
        signed = _signed_request(context, body)
    request = VerificationRequest(scopes=(SCOPE,), core=path.name, address=context.client, method=context.method, signed=signed)
    authenticated = await authenticate(context, token, request, path.name)
    if authenticated is None:
        return
    key, limits = authenticated
    try:
        instances = _live_instances(dependencies, path.name)
        open_websocket = nullcontext() if handshake is None else dependencies.websockets.hold(path.name)
        with dependencies.key_requests.hold(key.subject), open_websocket:
            framed = await _framed_body(context) if signed is None else _framed(body)
            headers = [*framed[1], *_gateway_headers(context, key), *(() if handshake is None else handshake.headers)]
            upstream = _upstream_request(context, path.path, headers, framed[0], upgrade=handshake is not None)
            open_handshake = _WebSocket(handshake, key, request) if handshake else None
            await _Forwarding(context, instances, upstream, limits, open_handshake).run()
    except GatehouseError as exc:
        if context.status:
            raise  # the response has started, so closing the connection is the only way to report the error
        if not (isinstance(exc, CoreTimeout) or (isinstance(exc, CoreUnreachable) and exc.sent)):
            await dependencies.verification.refund(key, request.cost)  # the Core received nothing
        if isinstance(exc, CoreUnreachable | CoreTimeout | CoreNotRegistered | CoreCircuitOpen | CoreOverloaded):
            dependencies.observer.metrics.core_errors.labels(exc.code).inc()
        context.detail = f"{exc.code} {exc.detail}".strip()
        await context.fail(exc, headers=limit_headers(limits))


def _live_instances(dependencies: Dependencies, name: str) -> list[CoreRecord]:
    """The instances of a Core that can receive the request. Raises NotFound, CoreNotRegistered."""
    instances, environment = dependencies.cores.instances(name), dependencies.verification.environment
    return live_instances(instances, environment, dependencies.pepper, now=dependencies.clock.now())


def _upstream_request(
    context: RequestContext,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes | AsyncIterator[bytes] | None,
    *,
    upgrade: bool,
) -> UpstreamRequest:
    query = context.scope["query_string"].decode("ascii")
    target = f"{path}?{query}" if query else path
    return UpstreamRequest(context.method, target, [*forwarding.forwarded(context.fields), *headers], body, upgrade)


def _gateway_headers(context: RequestContext, key: KeyRecord) -> list[tuple[str, str]]:
    """Headers that the gateway sets for every instance. Headers with these names from the client have already been removed."""
    headers = [
        ("gatehouse-key-id", key.id),
        ("gatehouse-request-id", context.request_id),
        ("x-forwarded-for", context.client),
        ("x-forwarded-proto", _scheme(context)),
    ]
    host = context.values(b"host")
    if host:
        headers.append(("x-forwarded-host", host[0]))
    if key.owner and key.owner.isascii() and key.owner.isprintable():
        headers.append(("gatehouse-key-owner", key.owner))
    if not context.values(b"accept"):
        headers.append(("accept", "*/*"))
    if not context.values(b"user-agent"):
        headers.append(("user-agent", "gatehouse"))
    return headers


def _scheme(context: RequestContext) -> str:
    """Scheme that the client used, as reported by trusted proxies."""
    proto = context.values(b"x-forwarded-proto") if context.dependencies.addresses.trusts(context.peer) else []
    return "https" if proto[-1:] == ["https"] else str(context.scope["scheme"])


def _signed_request(context: RequestContext, body: bytes | None) -> SignedRequest:
    return SignedRequest(
        method=context.method,
        scheme=_scheme(context),
        authority=next(iter(context.values(b"host")), ""),
        path=context.raw_path.decode("ascii"),
        query=context.scope["query_string"].decode("ascii"),
        fields=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in context.fields),
        has_body=bool(body),
        digests=digests_of(body or b""),
    )


@dataclass(frozen=True, slots=True)
class _Handshake:
    """A WebSocket handshake. `headers`: headers that are forwarded to the Core. Extensions are not forwarded, because the size of
    a compressed message is not known."""

    key: str
    protocols: list[str]
    accept: asgi.AcceptUpgrade

    @property
    def headers(self) -> list[tuple[str, str]]:
        protocols = [("sec-websocket-protocol", value) for value in self.protocols]
        key, version = ("sec-websocket-key", self.key), ("sec-websocket-version", websocket.VERSION)
        return [("connection", "Upgrade"), ("upgrade", "websocket"), key, version, *protocols]


def _handshake(context: RequestContext) -> _Handshake | None:
    """The WebSocket handshake in a request, or None. Raises BadRequest, UpgradeRequired, UpgradeUnsupported."""
    protocols = [value.strip().lower() for value in context.values(b"upgrade")]
    if not protocols:
        return None
    if protocols != ["websocket"] or WEBSOCKET.name in context.dependencies.features_off:
        raise UpgradeUnsupported("The gateway does not forward this connection upgrade; use plain HTTP.")
    accept: asgi.AcceptUpgrade | None = context.scope.get("extensions", {}).get(asgi.UPGRADE)
    has_body = context.values(b"content-length") or context.values(b"transfer-encoding")
    if accept is None or has_body or context.method != "GET" or context.scope["http_version"] != "1.1":
        raise BadRequest("A WebSocket handshake is a GET request with HTTP/1.1, the header Connection: Upgrade and no body.")
    key, version = context.values(b"sec-websocket-key"), context.values(b"sec-websocket-version")
    problem = websocket.handshake_problem(key, version)
    if problem:
        raise BadRequest(problem)
    if version != [websocket.VERSION]:
        raise UpgradeRequired(f"Use version {websocket.VERSION} of the WebSocket protocol.")
    return _Handshake(key[0], context.values(b"sec-websocket-protocol"), accept)


@dataclass(frozen=True, slots=True)
class _WebSocket:
    """A handshake that was allowed for a key."""

    handshake: _Handshake
    key: KeyRecord
    verification: VerificationRequest

    async def run(
        self, context: RequestContext, core: CoreRecord, response: UpstreamResponse, headers: list[asgi.Header]
    ) -> None:
        """Accepts the handshake after a 101 response, and relays frames until the WebSocket is closed.

        Raises CoreUnreachable if the response is invalid, Unauthorized if the key was revoked in the meantime, ClientGone and
        Unavailable.
        """
        problem = websocket.acceptance_problem(response.headers, self.handshake.key, self.handshake.protocols)
        if problem:
            raise CoreUnreachable(detail=problem)
        dependencies = context.dependencies
        with dependencies.websockets.relay(self.key.id, self.verification, core) as relay:
            record = await dependencies.verification.keys.find(self.key.id)
            if not dependencies.websockets.permits(relay, record):
                raise Unauthorized("The API key no longer permits this request")
            core_data = response.upgrade(relay.core)
            own = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
            client_data = self.handshake.accept([*headers, *own], relay.client, relay.shutdown)
            context.status = 101
            context.record_usage()
            try:
                await relay.run(client_data, core_data)
            finally:
                context.websocket = relay.use
                dependencies.observer.metrics.websocket_closed(relay.use)


@dataclass(frozen=True, slots=True)
class _Forwarding:
    """Sends one request to a Core and the response from the Core to the client.

    instances: live instances of the Core. request: without the secret of an instance. websocket: only for a WebSocket handshake.
    """

    context: RequestContext
    instances: list[CoreRecord]
    request: UpstreamRequest
    limits: tuple[RateLimitState, ...]
    websocket: _WebSocket | None = None

    async def run(self) -> None:
        """Forwards the request to an instance, and retries once if the retry budget allows a retry. Raises CoreUnreachable,
        CoreTimeout, CoreCircuitOpen, CoreOverloaded."""
        load_balancer = self.context.dependencies.load_balancer
        core = load_balancer.select(self.instances, self.request)
        revalidation = self._revalidation(core)
        if revalidation is not None and revalidation.is_fresh and not requires_validation(self.context.fields):
            await self._respond_from_cache(revalidation)
            return
        try:
            await self._send(core, revalidation)
        except CoreUnreachable as exc:
            if self.context.status:
                raise
            other = load_balancer.select_for_retry(self.instances, self.request, core, exc)
            if other is None:
                raise
            revalidation = self._revalidation(other)
            if revalidation is not None:
                revalidation.cached = None  # the retry requests the whole response
            await self._send(other, revalidation)

    def _revalidation(self, core: CoreRecord) -> _Revalidation | None:
        """State for the use of the cache, or None if the request cannot be served from the cache."""
        context, cache = self.context, self.context.dependencies.response_cache
        if cache is None or self.request.body is not None or self.request.upgrade:
            return None
        if not is_cacheable(context.method, context.fields):
            return None
        key = (core.name, core.lease_id, self.request.target, ", ".join(context.values(b"accept-encoding")))
        validation = Validation(context.dependencies.load_balancer.monotonic(), core.content_version)
        return _Revalidation(cache, key, cache.find(key), validation)

    async def _respond_from_cache(self, revalidation: _Revalidation) -> None:
        """Sends the stored response without a request to the Core."""
        context, cached = self.context, revalidation.cached
        if cached is None:
            raise CoreUnreachable
        context.dependencies.observer.metrics.core_cache.labels("fresh").inc()
        context.status = 200
        headers = self._returned(cached.headers_at(revalidation.validation.at))
        await context.send({"type": "http.response.start", "status": 200, "headers": headers})
        await context.send({"type": "http.response.body", "body": cached.body})

    async def _send(self, core: CoreRecord, revalidation: _Revalidation | None) -> None:
        dependencies = self.context.dependencies
        request = self._request(core, revalidation)
        watcher = _DisconnectWatcher(self.context, armed=self.request.body is None or isinstance(self.request.body, bytes))
        try:
            async with dependencies.load_balancer.send(core, request) as response:
                await self._respond(core, response, watcher, revalidation)
        except asyncio.CancelledError:
            if watcher.client_gone:
                raise asgi.ClientGone from None
            raise
        finally:
            watcher.stop()

    def _request(self, core: CoreRecord, revalidation: _Revalidation | None) -> UpstreamRequest:
        """The request with the secret of an instance and the ETag of the stored response. Raises CoreNotRegistered."""
        secret = core_secret(self.context.dependencies.pepper, core)
        if secret is None:
            raise CoreNotRegistered
        headers = [*self.request.headers, ("authorization", f"Bearer {secret}")]
        if revalidation is not None and revalidation.cached is not None:
            headers.append(("if-none-match", revalidation.cached.etag))
        return msgspec.structs.replace(self.request, headers=headers)

    async def _respond(
        self, core: CoreRecord, response: UpstreamResponse, watcher: _DisconnectWatcher, revalidation: _Revalidation | None
    ) -> None:
        context = self.context
        status, headers, body = response.status, response.headers, None
        if status == 101 and self.websocket is not None:
            watcher.stop()
            await self.websocket.run(context, core, response, self._returned(headers, handshake=True))
            return
        if revalidation is not None:
            status, headers, body = revalidation.apply(status, headers)
            outcome = "hit" if body is not None else "changed" if revalidation.cached else "miss"
            context.dependencies.observer.metrics.core_cache.labels(outcome).inc()
        returned = self._returned(headers)
        inline: bytes | None = b"" if context.is_head or status in (204, 304) else body
        length = next((int(value) for name, value in returned if name == b"content-length" and value.isdigit()), None)
        if inline is None and length is not None and length <= INLINE_BYTES_MAX:
            inline = await response.read_all()
        if inline is None:
            watcher.start()
        store = revalidation if body is None else None
        if store is not None and not store.cache.storable(response.status, response.headers):
            store = None
        context.status = status
        await context.send({"type": "http.response.start", "status": status, "headers": returned})
        if inline is not None:
            if store is not None:
                store.store(response.headers, inline)
            await context.send({"type": "http.response.body", "body": inline})
            return
        received = bytearray()
        while (chunk := await response.read()) is not None:
            if store is not None:
                received += chunk
                if len(received) == length:
                    store.store(response.headers, bytes(received))
            await context.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await context.send({"type": "http.response.body", "body": b""})

    def _returned(self, headers: list[tuple[str, str]], *, handshake: bool = False) -> list[asgi.Header]:
        """Headers of the response to the client."""
        rate = limit_headers(self.limits)
        returned = forwarding.returned(headers, replaced=[name for name, _ in rate], handshake=handshake)
        return [*returned, *rate, (b"x-request-id", self.context.request_id.encode())]


@dataclass(slots=True)
class _Revalidation:
    """State of one request that uses the response cache. `cached`: the stored response, if any. `validation`: time of the request
    and content version of the instance."""

    cache: ResponseCache
    key: CacheKey
    cached: CachedResponse | None
    validation: Validation

    @property
    def is_fresh(self) -> bool:
        """True if the stored response can be served without a request to the Core."""
        return self.cached is not None and self.cached.is_fresh(self.validation.at, self.validation.content_version)

    def apply(self, status: int, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]], bytes | None]:
        """Replaces a 304 response with the stored response. Any other response below status 500 removes the stored response."""
        if self.cached is None:
            return status, headers, None
        if status == 304:
            merged = updated_headers(self.cached, headers)
            if merged is None:
                self.cache.drop(self.key)
                raise CoreUnreachable(detail="304 that does not confirm the stored response")
            self.store(merged, self.cached.body)
            return 200, merged, self.cached.body
        if status < 500:
            self.cache.drop(self.key)
        return status, headers, None

    def store(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self.cache.store(self.key, headers, body, self.validation)


class _DisconnectWatcher:
    """Cancels the request when its client disconnects, so that the Core does not continue unneeded work.

    Active only while nothing else reads from the client; a streaming request body detects the disconnect itself.
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
    """Rejects requests that two servers could interpret differently, before any decision on the request is made."""
    if context.method not in forwarding.METHODS:
        raise MethodNotAllowed
    path = core_path(context.raw_path)
    query: bytes = context.scope["query_string"]
    problem = path if isinstance(path, str) else forwarding.ambiguity(context.fields)
    if not problem and query and (not query.isascii() or b"#" in query or any(byte <= 0x20 or byte == 0x7F for byte in query)):
        problem = "the query contains a space, control or non-ASCII byte, or a raw #; percent-encode it"
    if problem or isinstance(path, str):
        raise BadRequest(problem[0].upper() + problem[1:])
    return path


def _framed(body: bytes | None) -> FramedBody:
    return body, [] if body is None else [("content-length", str(len(body)))]


async def _framed_body(context: RequestContext) -> FramedBody:
    """The request body (nothing, bytes for a small body, or a stream) and the header that declares the length or framing."""
    length = context.values(b"content-length")
    if not length:
        return (_chunks(context), []) if context.values(b"transfer-encoding") else (None, [])
    if not length[0].isdigit():
        raise BadRequest("The header content-length is not a number.")
    size = int(length[0])
    if size > INLINE_BYTES_MAX:
        return _chunks(context), [("content-length", str(size))]
    # Content-Length is sent even if it is zero, because some servers return 411 for a POST request without the header.
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
