"""Reverse proxy: verifies the key, then streams the request to the Core and the response to the
client.

The Core receives neither the token nor client values for headers that only the gateway may set. The
gateway sends the secret of the Core, the ID and owner of the key, and the checked client address.
The path is forwarded as received, so that only the Core decodes the path. URLs in headers are
translated, so that the client never sees the address of the Core.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import msgspec

from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import (
    BadRequest,
    BodyTooLarge,
    CoreCircuitOpen,
    CoreNotRegistered,
    CoreOverloaded,
    CoreTimeout,
    CoreUnreachable,
    Forbidden,
    GatehouseError,
    MethodNotAllowed,
    Unauthorized,
    UpgradeRequired,
)
from gatehouse.core.features import WEBSOCKET
from gatehouse.core.http_signatures import digests_of, is_signed
from gatehouse.core.keys import KeyRecord
from gatehouse.core.verification import RateLimitState, SignedRequest, VerificationRequest
from gatehouse.features.cores.service import live_instances
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform.http import asgi, forwarding, websocket
from gatehouse.platform.http.forwarding import CorePath, core_path
from gatehouse.platform.http.header_names import names_for
from gatehouse.platform.http.request import Refused
from gatehouse.platform.http.request_head import is_websocket
from gatehouse.platform.http_client.upstream import UpstreamRequest, UpstreamResponse
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.gateway.credentials import (
    authenticate,
    forwarded_token,
    preflight_response,
    presented_token,
    without_keys,
)
from gatehouse.services.gateway.forwarding import (
    INLINE_BYTES_MAX,
    Authorize,
    Forwarding,
    public_host,
    sentence,
)

SCOPE = "cores:read"

PATH = "/cores/{name}/{path}"

#: A request that has been in progress for longer than this number of seconds is authorized again
#: before each part of its body or response. A revocation takes effect sooner, so that a Core can
#: respond to a request that revokes its own key.
AUTHORIZED_S = 5.0

#: Body of a request, and the header that declares the length or framing of the body.
FramedBody = tuple[bytes | AsyncIterator[bytes] | None, list[tuple[str, str]]]


async def forward(context: RequestContext) -> None:
    """Forward a request to a Core.

    Verifies the key, forwards the request with its path, query and body, and returns the response
    from the Core. A WebSocket handshake is forwarded too; if the Core accepts it, the response has
    status 101.
    """
    path = _checked_path(context)
    handshake = _handshake(context)
    token = presented_token(context)
    preflight = None if token is not None else preflight_response(context)
    if preflight is not None:
        await context.send_response(preflight)
        return
    dependencies = context.service
    body: bytes | None = None
    signed: SignedRequest | None = None
    if token is not None and is_signed(context.values(b"signature-input")):
        # The body of a signed request is read and verified before any of it is forwarded. A body
        # above the size limit results in status 413.
        has_body = bool(context.values(b"content-length") or context.values(b"transfer-encoding"))
        body = await context.body(dependencies.body_max_bytes) if has_body else None
        signed = _signed_request(context, body)
    request = VerificationRequest(
        scopes=(SCOPE,),
        core=path.name,
        address=context.client,
        method=context.method,
        signed=signed,
    )
    began = time.perf_counter()
    key, limits = await authenticate(context, token, request, path.name)
    framed = None if signed is None else _framed_body(body)
    await _forward_verified(context, path, token, request, key, limits, began, handshake, framed)


async def _forward_verified(
    context: RequestContext,
    path: CorePath,
    token: str | None,
    request: VerificationRequest,
    key: KeyRecord,
    limits: tuple[RateLimitState, ...],
    began: float,
    handshake: "Handshake | None",
    framed: FramedBody | None,
) -> None:
    """Forwards a request for which the key was verified. Raises Refused.

    began: `perf_counter()` before that. framed: the body, if it has been read.
    """
    dependencies, started = context.service, time.perf_counter()
    sending: Forwarding | None = None

    async def authorize() -> None:
        if time.perf_counter() - started > AUTHORIZED_S:
            await dependencies.verification.authorize(key.id, request)

    def instances() -> list[CoreRecord]:
        if dependencies.cores.settings(path.name) != context.settings:
            raise CoreNotRegistered("The settings of the Core have changed. Try again.")
        return live_instances(
            dependencies.cores.instances(path.name),
            dependencies.verification.environment,
            dependencies.pepper,
            now=dependencies.clock.now(),
        )

    try:
        with (
            dependencies.key_requests.hold(key.subject, context),
            nullcontext()
            if handshake is None
            else dependencies.websockets.places.hold(key.subject, context, "open WebSockets"),
        ):
            framed = framed or await _received_body(context, authorize)
            context.release()  # the number of requests of a key is limited instead
            await context.turn()  # comparing the names of headers is costly
            owner = next((c.registered_by for c in dependencies.cores.instances(path.name)), "")
            credential = await dependencies.credentials.find(path.name, context.settings, owner)
            upstream = _upstream_request(context, path, token, key, framed, handshake)
            if other := await forwarded_token(context):
                headers = without_keys(context, other, upstream.headers)
                upstream = msgspec.structs.replace(upstream, headers=headers)
            on_upgrade = (
                None
                if handshake is None
                else partial(_WebSocket(handshake, key, request).run, context)
            )
            sending = Forwarding(
                context, path, instances, upstream, limits, credential, authorize, on_upgrade
            )
            await sending.run()
            context.waited_for_core(started)
    except (asgi.ClientGone, asyncio.CancelledError):
        context.waited_for_core(started)
        if sending is None or not sending.is_sent:
            await dependencies.verification.refund(key, request.cost, began)
        raise asgi.ClientGone from None
    except GatehouseError as exc:
        is_core_error = isinstance(
            exc,
            CoreUnreachable | CoreTimeout | CoreNotRegistered | CoreCircuitOpen | CoreOverloaded,
        )
        if is_core_error:
            context.waited_for_core(started)
        if context.status:
            # the response has started, so closing the connection is the only way to report the
            # error
            raise
        if sending is None or not sending.is_sent:
            await dependencies.verification.refund(key, request.cost, began)
        if is_core_error:
            dependencies.observer.metrics.core_errors.labels(exc.code).inc()
        context.detail = f"{exc.code} {exc.detail}".strip()
        raise Refused(exc, headers=limit_headers(limits)) from None


def _upstream_request(
    context: RequestContext,
    path: CorePath,
    token: str | None,
    key: KeyRecord,
    framed: FramedBody,
    handshake: "Handshake | None",
) -> UpstreamRequest:
    """The request for every instance. Path and query are forwarded as received."""
    body, framing = framed
    query = context.scope["query_string"].decode("ascii")
    settings = context.settings
    headers = forwarding.forwarded(context.fields, names_for(settings))
    if not context.trace.parent_id and context.values(b"tracestate"):
        # Not forwarded without a valid `traceparent` (W3C Trace Context, section 3.3).
        headers = [field for field in headers if field[0] != "tracestate"]
    headers = without_keys(context, token, headers)
    if path.prefix and context.has(b"cookie"):
        headers = [
            (name, forwarding.cookies_for_core(value) if name == "cookie" else value)
            for name, value in headers
        ]
    log = context.service.observer.log
    if log.writes("debug"):
        names = [context.logged(name) for name in forwarding.removed(context.fields, headers)]
        log.debug("headers removed", core=path.name, request_id=context.request_id, headers=names)
    headers += framing
    headers += _added_headers(context, path, key)
    if handshake is not None:
        headers += without_keys(context, token, handshake.headers)
    target = path.path if settings.strip_prefix else context.raw_path.decode("ascii")
    return UpstreamRequest(
        context.method,
        f"{target}?{query}" if query else target,
        headers,
        body,
        handshake is not None,
        host=context.header(b"host") if settings.forward_host else "",
        timeout_s=settings.response_timeout_s,
        sender=key.subject,
    )


def _added_headers(
    context: RequestContext, path: CorePath, key: KeyRecord
) -> list[tuple[str, str]]:
    """Headers that the gateway sets for every instance. Headers with these names from the client
    have already been removed.
    """
    client, proto = context.client, context.scheme
    node = f"[{client}]" if ":" in client else client or "unknown"
    headers = [
        ("gatehouse-key-id", key.id),
        ("gatehouse-request-id", context.request_id),
        ("traceparent", context.trace.traceparent),
        ("x-forwarded-for", client),
        ("x-forwarded-proto", proto),
    ]
    forwarded = f'for="{node}";proto={proto}'
    host = public_host(context, path)
    if host:
        headers.append(("x-forwarded-host", host))
        forwarded += f';host="{host}"'
    headers.append(("forwarded", forwarded))
    if context.settings.strip_prefix and path.prefix:
        headers.append(("x-forwarded-prefix", path.prefix))
    if key.owner and key.owner.isascii() and key.owner.isprintable():
        headers.append(("gatehouse-key-owner", key.owner))
    return headers


def _signed_request(context: RequestContext, body: bytes | None) -> SignedRequest:
    return SignedRequest(
        method=context.method,
        scheme=context.scheme,
        authority=next(iter(context.values(b"host")), ""),
        path=context.raw_path.decode("ascii"),
        query=context.scope["query_string"].decode("ascii"),
        fields=tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in context.fields
        ),
        has_body=bool(body),
        digests=digests_of(body or b""),
    )


@dataclass(frozen=True, slots=True)
class Handshake:
    """A WebSocket handshake. `headers`: headers that are forwarded to the Core. Extensions are not
    forwarded, because the size of a compressed message is not known."""

    key: str
    protocols: list[str]
    accept: asgi.AcceptUpgrade

    @property
    def headers(self) -> list[tuple[str, str]]:
        protocols = [("sec-websocket-protocol", value) for value in self.protocols]
        key, version = ("sec-websocket-key", self.key), ("sec-websocket-version", websocket.VERSION)
        return [("connection", "Upgrade"), ("upgrade", "websocket"), key, version, *protocols]


def _handshake(context: RequestContext) -> Handshake | None:
    """The WebSocket handshake in a request, or None. Other upgrades are ignored (RFC 9110, section
    7.8). Raises BadRequest, UpgradeRequired.
    """
    if not is_websocket(context.scope["headers"]) or WEBSOCKET in context.service.features_off:
        return None
    accept: asgi.AcceptUpgrade | None = context.scope.get("extensions", {}).get(asgi.UPGRADE)
    if accept is None or context.method != "GET" or context.scope["http_version"] != "1.1":
        raise BadRequest(
            "A WebSocket handshake is a GET request with HTTP/1.1, the header Connection: "
            "Upgrade and no body."
        )
    key, version = context.values(b"sec-websocket-key"), context.values(b"sec-websocket-version")
    problem = websocket.handshake_problem(key, version)
    if problem:
        raise BadRequest(problem)
    if version != [websocket.VERSION]:
        raise UpgradeRequired(f"Use version {websocket.VERSION} of the WebSocket protocol.")
    return Handshake(key[0], context.values(b"sec-websocket-protocol"), accept)


@dataclass(frozen=True, slots=True)
class _WebSocket:
    """A handshake that was allowed for a key."""

    handshake: Handshake
    key: KeyRecord
    verification: VerificationRequest

    async def run(
        self,
        context: RequestContext,
        core: CoreRecord,
        response: UpstreamResponse,
        headers: list[asgi.Header],
    ) -> None:
        """Accepts the handshake after a 101 response, and relays frames until the WebSocket is
        closed.

        Raises CoreUnreachable if the response is invalid, Unauthorized if the key was revoked in
        the meantime, ClientGone and Unavailable.
        """
        problem = websocket.acceptance_problem(
            response.headers, self.handshake.key, self.handshake.protocols
        )
        if problem:
            raise CoreUnreachable(detail=problem)
        dependencies = context.service
        with dependencies.websockets.relay(self.key, self.verification, core) as relay:
            record = await dependencies.verification.keys.find(self.key.id)
            if not dependencies.websockets.permits(relay, record):
                raise Unauthorized("The API key no longer permits this request")
            core_data = response.upgrade(relay.core)
            context.relay = relay
            own = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
            client_data = self.handshake.accept([*headers, *own], relay.client, relay.shutdown)
            context.status = 101
            try:
                await relay.run(client_data, core_data)
            finally:
                context.websocket = relay.use
                dependencies.observer.metrics.websocket_closed(relay.use)


def _checked_path(context: RequestContext) -> CorePath:
    """Rejects requests that two servers could interpret differently, before any decision on the
    request is made. Raises BadRequest, MethodNotAllowed.
    """
    if context.method in forwarding.PROXY_METHODS:
        raise MethodNotAllowed
    try:
        path = core_path(context.raw_path, context.core_of_host)
    except ValueError as exc:
        raise BadRequest(sentence(exc)) from None
    if context.has(b"service-worker") and context.raw_path == path.prefix.encode():
        raise Forbidden(f"A service worker of this path applies to all Cores. Use {path.prefix}/.")
    context.use(context.service.cores.settings(path.name))
    invalid = forwarding.invalid_value(context.fields)
    if invalid is not None:
        name = invalid.decode("latin-1")[:40]
        raise BadRequest(f"The header {name} contains a byte that is not ASCII")
    length, bytes_max = context.values(b"content-length"), context.settings.body_max_bytes
    if bytes_max is not None and length and int(length[0]) > bytes_max:
        raise BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")
    return path


def _framed_body(body: bytes | None) -> FramedBody:
    """A body that has been read. None: the request has no body."""
    return body, [] if body is None else [("content-length", str(len(body)))]


async def _received_body(context: RequestContext, authorize: Authorize) -> FramedBody:
    """The request body (nothing, bytes for a small body, or a stream) and the header that declares
    the length or framing.
    """
    length = context.values(b"content-length")
    if not length:
        has_body = bool(context.values(b"transfer-encoding"))
        return (_chunks(context, authorize) if has_body else None), []
    size = int(length[0])
    if size > INLINE_BYTES_MAX:
        return _chunks(context, authorize), [("content-length", str(size))]
    body = await context.body(INLINE_BYTES_MAX)
    # Content-Length is sent even if it is zero, because some servers return 411 for a POST request
    # without the header.
    return _framed_body(body)


async def _chunks(context: RequestContext, authorize: Authorize) -> AsyncIterator[bytes]:
    bytes_max = context.settings.body_max_bytes or sys.maxsize
    async for chunk in asgi.body_chunks(context.scope, context.receive, bytes_max):
        await authorize()
        yield chunk
    await authorize()  # the end of a body in chunks
