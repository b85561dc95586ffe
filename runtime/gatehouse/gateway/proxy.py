"""ANY /cores/{name}/{path}: checks the key, then hands the request to the Core and its answer back, streaming both ways.

The Core sees neither the key nor anything that a client claims about itself: it gets its own secret, the key's id and owner,
and a rebuilt address. The path goes through as it was sent, so it is decoded once, by the Core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gatehouse.clock import Clock
from gatehouse.cores.circuit_breaker import CircuitBreakers
from gatehouse.cores.models import CoreRecord, Cores, UpstreamReply, UpstreamRequest
from gatehouse.cores.response_cache import CachedResponse, Place, ResponseCache, asks_plainly, confirmed
from gatehouse.cores.service import core_secret
from gatehouse.crypto.http_signatures import digests_of, is_ours
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
from gatehouse.gateway import credentials as credential
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


#: Bodies up to this size are passed on in one piece: half again as fast as streaming them (measured; see bench/).
INLINE_BYTES_MAX = 65_536


_REFUSED = frozenset({"CONNECT", "TRACE"})


#: A request's body, and the header that frames it.
Framed = tuple[bytes | AsyncIterator[bytes] | None, list[tuple[str, str]]]


#: A client that leaves is noticed only by listening for it; most requests are over before that is worth a task.
_WATCH_AFTER_S = 0.1


class Proxy:
    def __init__(
        self,
        admission: VerificationService,
        cores: Cores,
        reach: CircuitBreakers,
        pepper: Pepper,
        clock: Clock,
        addresses: asgi.ClientAddresses,
        metrics: Metrics,
        *,
        body_max_bytes: int,
        cache: ResponseCache | None = None,
    ) -> None:
        """body_max_bytes: largest body of a signed request. cache: of often-read files; None keeps nothing."""
        self._cache = cache
        self._body_bytes_max = body_max_bytes
        self._admission = admission
        self._cores = cores
        self._reach = reach
        self._pepper = pepper
        self._clock = clock
        self._addresses = addresses
        self._metrics = metrics

    async def __call__(self, exchange: RequestContext) -> None:
        path = _checked(exchange)
        token = credential.presented_token(exchange)
        if token is None:
            await exchange.fail(credential.missing(), headers=credential.challenge(invalid=False))
            return
        address = exchange.client(self._addresses)
        body: bytes | None = None
        signed: SignedRequest | None = None
        if is_ours(exchange.values(b"signature-input")):
            # What is signed is read whole and checked before any of it is passed on; larger bodies are refused (413).
            body = await asgi.read_body(exchange.receive, self._body_bytes_max) if _has_body(exchange) else None
            signed = self._signed(exchange, body)
        question = VerificationRequest(scopes=(SCOPE,), core=path.name, address=address, method=exchange.method, signed=signed)
        verdict = await self._admission.admit(token, question)
        self._metrics.by_code[verdict.code].inc()
        exchange.decided(verdict, path.name)
        error = credential.refusal(verdict)
        if error is not None or verdict.record is None:
            await credential.refuse(exchange, verdict, error or credential.missing())
            return
        try:
            core, secret = self._live(path.name)
            framed = await _body(exchange) if signed is None else _read(body)
            await self._forward(exchange, core, secret, path.path, verdict.record, verdict.limits, framed)
        except GatehouseError as exc:
            if exchange.status:
                raise  # the answer has begun: breaking it off is the only way to say that it is not whole
            if isinstance(exc, CoreUnreachable | CoreTimeout | CoreNotRegistered | CoreCircuitOpen):
                self._metrics.core_errors.labels(exc.code).inc()
            exchange.detail = f"{exc.code} {exc.detail}".strip()
            wait = [(b"retry-after", str(exc.retry_after_s).encode())] if isinstance(exc, CoreCircuitOpen) else []
            await exchange.fail(exc, headers=[*limit_headers(verdict.limits), *wait])

    def _live(self, name: str) -> tuple[CoreRecord, str]:
        core = self._cores.find(name) if CORE_NAME.fullmatch(name) else None
        if core is None or core.environment is not self._admission.environment:
            raise NotFound("No Core has this name")
        secret = core_secret(self._pepper, core)
        if core.draining or core.expires_at <= self._clock.now() or secret is None:
            raise CoreNotRegistered
        return core, secret

    async def _forward(
        self,
        exchange: RequestContext,
        core: CoreRecord,
        secret: str,
        path: str,
        key: KeyRecord,
        limits: tuple[RateLimitState, ...],
        framed: Framed,
    ) -> None:
        query = exchange.scope["query_string"].decode("ascii")
        body, framing = framed
        request = UpstreamRequest(
            method=exchange.method,
            target=f"{path}?{query}" if query else path,
            headers=[*fields.forwarded(exchange.fields), *framing, *self._identity(exchange, secret, key)],
            body=body,
        )
        copy = self._copy(exchange, core, request)
        if copy is not None and copy.kept is not None:
            request.headers.append(("if-none-match", copy.kept.etag))
        try:
            await self._exchange(exchange, core, request, limits, copy)
            return
        except CoreUnreachable as exc:
            if exchange.status or not self._reach.may_repeat(core, request, exc):
                raise
        await self._exchange(exchange, core, request, limits, copy)

    def _copy(self, exchange: RequestContext, core: CoreRecord, request: UpstreamRequest) -> _Copy | None:
        """Where the answer may be kept and what is kept there; None when the request has nothing to do with copies."""
        if self._cache is None or request.body is not None or not asks_plainly(exchange.method, exchange.fields):
            return None
        place = (core.name, core.lease_id, request.target, ", ".join(exchange.values(b"accept-encoding")))
        return _Copy(self._cache, place, self._cache.find(place))

    def _identity(self, exchange: RequestContext, secret: str, key: KeyRecord) -> list[tuple[str, str]]:
        """What the gateway says about the request; a client's own copies of these were removed."""
        identity = [
            ("authorization", f"Bearer {secret}"),
            ("gatehouse-key-id", key.id),
            ("gatehouse-request-id", exchange.request_id),
            ("x-forwarded-for", self._addresses.client(exchange.peer, exchange.values(b"x-forwarded-for"))),
            ("x-forwarded-proto", self._scheme(exchange)),
        ]
        host = exchange.values(b"host")
        if host:
            identity.append(("x-forwarded-host", host[0]))
        if key.owner and key.owner.isascii() and key.owner.isprintable():
            identity.append(("gatehouse-key-owner", key.owner))
        if not any(name == b"accept" for name, _ in exchange.fields):
            identity.append(("accept", "*/*"))
        if not any(name == b"user-agent" for name, _ in exchange.fields):
            identity.append(("user-agent", "gatehouse"))
        return identity

    def _scheme(self, exchange: RequestContext) -> str:
        """What the client used, as far as our own proxies can be believed."""
        proto = exchange.values(b"x-forwarded-proto") if self._addresses.trusts(exchange.peer) else []
        return "https" if proto[-1:] == ["https"] else str(exchange.scope["scheme"])

    def _signed(self, exchange: RequestContext, body: bytes | None) -> SignedRequest:
        return SignedRequest(
            method=exchange.method,
            scheme=self._scheme(exchange),
            authority=next(iter(exchange.values(b"host")), ""),
            path=exchange.raw_path.decode("ascii"),
            query=exchange.scope["query_string"].decode("ascii"),
            fields=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.fields),
            has_body=bool(body),
            digests=digests_of(body or b""),
        )

    async def _exchange(
        self,
        exchange: RequestContext,
        core: CoreRecord,
        request: UpstreamRequest,
        limits: tuple[RateLimitState, ...],
        copy: _Copy | None,
    ) -> None:
        watch = _Watch(exchange, armed=request.body is None or isinstance(request.body, bytes))
        try:
            async with self._reach.exchange(core, request) as reply:
                await self._answer(exchange, reply, limits, watch, copy)
        except asyncio.CancelledError:
            if watch.client_gone:
                raise asgi.ClientGone from None
            raise
        finally:
            watch.stop()

    async def _answer(
        self,
        exchange: RequestContext,
        reply: UpstreamReply,
        limits: tuple[RateLimitState, ...],
        watch: _Watch,
        copy: _Copy | None,
    ) -> None:
        rate = limit_headers(limits)
        status, headers, whole = copy.read(reply.status, reply.headers) if copy else (reply.status, reply.headers, None)
        self._count(copy, whole)
        sent = fields.returned(headers, replaced=[name for name, _ in rate])
        sent += [*rate, (b"x-request-id", exchange.request_id.encode())]
        bodiless = exchange.is_head or status in (204, 304)
        length = next((int(value) for name, value in sent if name == b"content-length" and value.isdigit()), None)
        inline = b"" if bodiless else whole
        if inline is None and length is not None and length <= INLINE_BYTES_MAX:
            inline = await reply.read_all()
        if inline is None:
            watch.start()
        keeping = copy if copy is not None and whole is None and copy.cache.may_keep(reply.status, reply.headers) else None
        exchange.status = status
        await exchange.send({"type": "http.response.start", "status": status, "headers": sent})
        if inline is not None:
            await exchange.send({"type": "http.response.body", "body": inline})
            if keeping is not None:
                keeping.keep(reply.headers, [inline])
            return
        pieces: list[bytes] = []
        while (piece := await reply.read()) is not None:
            await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
            if keeping is not None:
                pieces.append(piece)
        await exchange.send({"type": "http.response.body", "body": b""})
        if keeping is not None:
            keeping.keep(reply.headers, pieces)

    def _count(self, copy: _Copy | None, whole: bytes | None) -> None:
        if copy is not None:
            self._metrics.core_cache.labels("hit" if whole is not None else "changed" if copy.kept else "miss").inc()


class _Copy:
    """One request's dealings with the cache."""

    def __init__(self, cache: ResponseCache, place: Place, kept: CachedResponse | None) -> None:
        self.cache = cache
        self.kept = kept
        self._place = place

    def read(self, status: int, headers: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]], bytes | None]:
        """The Core's answer, or with a 304 to our question what it stands for. Anything else ends what was kept."""
        if self.kept is None:
            return status, headers, None
        if status == 304:
            whole = confirmed(self.kept, headers)
            if whole is None:
                self.cache.drop(self._place)
                raise CoreUnreachable(detail="the Core confirmed a version that nobody asked about")
            return 200, whole, self.kept.body
        if status < 500:
            self.cache.drop(self._place)
        return status, headers, None

    def keep(self, headers: list[tuple[str, str]], pieces: list[bytes]) -> None:
        self.cache.keep(self._place, headers, b"".join(pieces))


class _Watch:
    """Cancels the request when its client leaves, so that the Core stops working for nobody.

    Only when nothing else reads from the client: a request body that is still streaming notices by itself. Once an answer
    is streaming, the connection to the Core is closed at once. Before that, pyreqwest 0.15 cannot take a request back: the
    gateway stops waiting, and the Core's answer, or its silence for a read timeout, ends the connection.
    """

    def __init__(self, exchange: RequestContext, *, armed: bool) -> None:
        self.client_gone = False
        self._exchange = exchange
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
        while (await self._exchange.receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        if self._owner is not None:
            self._owner.cancel()


def _checked(exchange: RequestContext) -> CorePath:
    """Refuses whatever two servers could read in two ways, before anything is decided on it."""
    if exchange.method in _REFUSED:
        raise MethodNotAllowed
    if exchange.values(b"upgrade"):
        raise UpgradeUnsupported("WebSocket and other upgrades do not go through the gateway; use plain HTTP")
    path = core_path(exchange.raw_path)
    query: bytes = exchange.scope["query_string"]
    wrong = path if isinstance(path, str) else fields.ambiguity(exchange.fields)
    if not wrong and query and (not query.isascii() or b"#" in query or any(byte <= 0x20 or byte == 0x7F for byte in query)):
        wrong = "the query holds a space, control or non-ASCII byte, or a raw #; percent-encode it"
    if wrong or isinstance(path, str):
        raise BadRequest(wrong[0].upper() + wrong[1:])
    return path


def _has_body(exchange: RequestContext) -> bool:
    return bool(exchange.values(b"content-length") or exchange.values(b"transfer-encoding"))


def _read(body: bytes | None) -> Framed:
    """A body that was read already, and the header that frames it."""
    return body, [] if body is None else [("content-length", str(len(body)))]


async def _body(exchange: RequestContext) -> Framed:
    """The request's body and the header that frames it: none, whole when it is small, otherwise a stream."""
    length = exchange.values(b"content-length")
    if not length:
        return (_pieces(exchange), []) if exchange.values(b"transfer-encoding") else (None, [])
    if not length[0].isdigit():
        raise BadRequest("The header content-length is no number")
    size = int(length[0])
    if size > INLINE_BYTES_MAX:
        return _pieces(exchange), [("content-length", str(size))]
    # Said even when it is zero: some servers answer 411 to a POST without it.
    return await asgi.read_body(exchange.receive, INLINE_BYTES_MAX), [("content-length", str(size))]


async def _pieces(exchange: RequestContext) -> AsyncIterator[bytes]:
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise asgi.ClientGone
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return
