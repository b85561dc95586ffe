"""Forwards requests to Cores without a task for each request.

A request is sent to a Core as soon as it has been received if there is nothing to wait for: the key is cached, the worker has
leased requests for its rate limits, and a connection to an instance is idle. A small response is sent to the client as soon as it
has been received. gateway/proxy.py continues in all other cases: denials, large and streamed bodies, errors and retries, stored
responses, and clients that disconnect.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gatehouse.cores.load_balancer import Reservation
from gatehouse.cores.models import CoreRecord, UpstreamRequest
from gatehouse.cores.response_cache import is_cacheable, requires_validation
from gatehouse.cores.upstream import request_head
from gatehouse.crypto.token import ParsedToken
from gatehouse.errors import CoreUnreachable, GatehouseError
from gatehouse.gateway.asgi import Dependencies, RequestContext, logged_path, run
from gatehouse.gateway.credentials import admit, presented_token
from gatehouse.gateway.forwarding import (
    INLINE_BYTES_MAX,
    Forwarding,
    Revalidation,
    SentRequest,
    accept_encoding,
    added_headers,
    core_headers,
    has_body,
    revalidation,
    size_of_body,
)
from gatehouse.gateway.proxy import (
    PATH,
    checked_path,
    find_instances,
    forward_verified,
    framed_body,
    gateway_headers,
    upstream_request,
    verification_request,
)
from gatehouse.http import asgi
from gatehouse.http.asgi import RequestId
from gatehouse.http.forwarding import CorePath
from gatehouse.keys.models import KeyId, KeyRecord
from gatehouse.observability import RepeatedRequest
from gatehouse.verification.models import Code, RateLimitState, VerificationResult
from gatehouse.verification.schemas import limit_headers

#: Requests with one of these headers are never forwarded synchronously.
_EXCLUDED = (b"upgrade", b"transfer-encoding", b"signature-input")

_VALID = Code.VALID.value
_CHUNKED = asgi.encode_headers(((b"transfer-encoding", b"chunked"),))


class SynchronousForwarding:
    """Prepares the forwarding of requests with the path `/cores/{name}/{path}`."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    def prepare(self, scope: asgi.Scope) -> asgi.RespondNow | None:
        """Implements asgi.PrepareResponse."""
        dependencies = self._dependencies
        context = RequestContext(dependencies, scope, _not_called, _not_called, template=PATH)
        if any(context.values(name) for name in _EXCLUDED):
            return None
        try:
            path = checked_path(context)
            token = presented_token(context)
        except GatehouseError:
            return None
        parsed = None if token is None else dependencies.verification.parse(token)
        return None if parsed is None else _RequestHead(context, path, parsed).respond


class _EncodedHead(NamedTuple):
    """The head of a request to a Core, and the objects on which it depends. parts: the parts before and after the request ID."""

    key: KeyRecord
    core: CoreRecord
    host: str
    request: UpstreamRequest
    parts: list[bytes]


class _ReturnedHeaders(NamedTuple):
    """Encoded headers from a Core that the client receives. basis: the arguments of `core_headers`."""

    basis: tuple[list[tuple[str, str]], int, list[bytes]]
    lines: bytes
    has_length: bool


class _RequestHead:
    """The head of one or more requests from a connection, and what has been derived from it."""

    def __init__(self, context: RequestContext, path: CorePath, token: ParsedToken) -> None:
        self.context = context
        self.dependencies = context.dependencies
        self.path = path
        self.method = context.method
        self.verification = verification_request(context, path)
        self.client = context.client
        self._token = token
        self._is_framed = bool(context.values(b"content-length"))
        self.requires_validation = requires_validation(context.fields)
        self._is_cacheable = not self._is_framed and is_cacheable(context.method, context.fields)
        self._accept_encoding = accept_encoding(context)
        self._selection = UpstreamRequest(context.method, "", [], b"" if self._is_framed else None)
        self._encoded: _EncodedHead | None = None
        self._returned: _ReturnedHeaders | None = None
        self._logged_path = ""
        self._lines: dict[int, RepeatedRequest] = {}

    def respond(self, body: bytes) -> asgi.Deferred | None:
        """Implements asgi.RespondNow."""
        started, dependencies = time.perf_counter(), self.dependencies
        if len(body) > INLINE_BYTES_MAX:
            return None
        try:
            instances = find_instances(dependencies, self.path.name)
            core = dependencies.load_balancer.select(instances, self._selection)
        except GatehouseError:
            return None
        reservation = dependencies.load_balancer.reserve(core)
        if reservation is None:
            return None
        try:
            result = dependencies.verification.verify_now(self._token, self.verification)
        except Exception:
            result = None  # the application responds to the request, and logs the error if it is unexpected
        if result is None:
            reservation.release()
            return None
        return _Exchange(self, started, result, body if self._is_framed else None, SentRequest(reservation, instances))

    def encode(
        self, request_id: RequestId, key: KeyRecord, reservation: Reservation, body: bytes | None
    ) -> tuple[UpstreamRequest, bytes]:
        """The request to an instance, and its encoded head. Raises CoreNotRegistered, BadRequest."""
        encoded, core, host = self._encoded, reservation.core, reservation.idle.host
        if encoded is not None and encoded.key is key and encoded.core is core and encoded.host == host:
            request = encoded.request if body is None else msgspec.structs.replace(encoded.request, body=body)
            return request, request_id.encode().join(encoded.parts)
        context = self.new_context(request_id)
        headers = [*framed_body(body)[1], *gateway_headers(context, key)]
        request = upstream_request(context, self.path.path, headers, body, upgrade=False)
        head = request_head(Forwarding(context, [], request, ()).for_instance(core, None), host, chunked=False)
        parts = head.split(request_id.encode())
        if len(parts) == 2:
            self._encoded = _EncodedHead(key, core, host, request, parts)
        return request, head

    def header_lines(
        self, headers: list[tuple[str, str]], status: int, limits: Sequence[RateLimitState], request_id: RequestId
    ) -> tuple[bytes, bool]:
        """The encoded headers of the response to the client, and whether they contain Content-Length. headers: headers of the
        response from the Core, which are often the same as in the previous response."""
        rate = limit_headers(limits)
        basis = headers, status, [name for name, _ in rate]
        if self._returned is None or self._returned.basis != basis:
            returned = core_headers(*basis)
            has_length = any(name == b"content-length" for name, _ in returned)
            self._returned = _ReturnedHeaders(basis, asgi.encode_headers(returned), has_length)
        return self._returned.lines + asgi.encode_headers(added_headers(rate, request_id)), self._returned.has_length

    def revalidation(self, core: CoreRecord, target: str) -> Revalidation | None:
        """State for the use of the cache, or None if the request cannot be served from the cache."""
        return revalidation(self.dependencies, core, target, self._accept_encoding) if self._is_cacheable else None

    def new_context(self, request_id: RequestId) -> RequestContext:
        context = self.context
        return RequestContext(self.dependencies, context.scope, _not_called, _not_called, request_id, context.template)

    def record(self, request_id: RequestId, key_id: KeyId, status: int, started: float) -> None:
        """Counts and logs a request after the response, like RequestContext."""
        dependencies, seconds = self.dependencies, time.perf_counter() - started
        dependencies.observer.metrics.decision(Code.VALID)
        dependencies.usage.count(key_id, self.path.name, _VALID, self.client)
        line = self._lines.get(status)
        if line is not None and status < 500:
            line.record(request_id, seconds, key_id)
            return
        if not self._logged_path:
            self._logged_path = logged_path(self.context.raw_path, dependencies.verification.prefix)
        else:  # creating a template takes longer than one line
            names = {"method": self.method, "route": PATH, "path": self._logged_path}
            self._lines[status] = dependencies.observer.repeated_request(**names, status=status, code=_VALID)
        dependencies.observer.request(
            request_id=request_id,
            method=self.method,
            route=PATH,
            path=self._logged_path,
            status=status,
            seconds=seconds,
            key_id=key_id,
            code=_VALID,
        )


class _Exchange(asgi.Deferred):
    """One request to a Core and its response."""

    def __init__(
        self, head: _RequestHead, started: float, result: VerificationResult, body: bytes | None, sent: SentRequest
    ) -> None:
        self._head = head
        self._started = started
        self._result = result
        self._body = body
        self._request_id = asgi.request_id()
        #: None if the request is not sent to a Core, or after its end.
        self._sent: SentRequest | None = sent
        self._connection = sent.reservation.idle.connection
        self._subject = ""
        self._responder: asgi.Responder

    def begin(self, responder: asgi.Responder) -> None:
        self._responder = responder
        if not self._begin():
            self._end()
            self._continue()

    def disconnected(self) -> None:
        self._continue()

    def _begin(self) -> bool:
        """Sends the request to the Core, or responds with a stored response. Returns False if gateway/proxy.py has to respond,
        because the request is denied or cannot be sent."""
        head, key, sent = self._head, self._result.record, self._sent
        if self._result.code is not Code.VALID or key is None or sent is None:
            return False
        reservation = sent.reservation
        try:
            head.dependencies.key_requests.acquire(key.subject)
            self._subject = key.subject
            request, encoded = head.encode(self._request_id, key, reservation, self._body)
        except GatehouseError:
            return False
        revalidation = head.revalidation(reservation.core, request.target)
        if revalidation is not None and revalidation.cached is not None:
            if revalidation.is_fresh and not head.requires_validation:
                stored = revalidation.cached
                return self._respond(200, stored.headers_at(revalidation.validation.at), stored.body, "fresh")
            encoded = encoded[:-2] + b"if-none-match: %b\r\n\r\n" % revalidation.cached.etag.encode("ascii")
        self._sent = SentRequest(reservation, sent.instances, revalidation)
        reservation.send(request, encoded)
        self._connection.on_progress = self._on_progress
        return True

    def _on_progress(self) -> None:
        """Called when a part of the response was received."""
        connection = self._connection
        if connection.is_complete:
            if self._end_exchange():
                return
        elif not connection.has_failed:
            if not connection.has_head:
                return
            size = size_of_body(connection.headers)
            if size is not None and size <= INLINE_BYTES_MAX:
                return
        self._continue()

    def _end_exchange(self) -> bool:
        """Sends the response of the Core to the client. Returns False if gateway/proxy.py has to respond."""
        connection, sent = self._connection, self._sent
        status, headers, body, outcome = connection.status, connection.headers, None, ""
        if sent is None or not 200 <= status < 600:
            return False
        if sent.revalidation is not None:
            try:
                status, headers, body = sent.revalidation.apply(status, headers)
            except CoreUnreachable:
                return False
            outcome = sent.revalidation.outcome(body)
        return self._respond(status, headers, body, outcome)

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes | None, cache_outcome: str) -> bool:
        """Sends a complete response. body: None for the body that the Core sent. Returns False if gateway/proxy.py has to
        respond."""
        head, sent, key = self._head, self._sent, self._result.record
        if sent is None or key is None:
            return False
        lines, has_length = head.header_lines(headers, status, self._result.limits, self._request_id)
        content = b""
        if has_body(head.method, status):
            is_chunked = not has_length
            if is_chunked and head.context.scope["http_version"] != "1.1":
                return False
            content = self._connection.take() if body is None else body
            if body is None and sent.revalidation is not None:
                sent.revalidation.add(status, headers, content)
            if is_chunked:
                lines, content = lines + _CHUNKED, asgi.encode_chunks(content)
        if cache_outcome:
            head.dependencies.observer.metrics.core_cache(cache_outcome)
        sent.reservation.responded()
        self._end()
        self._responder.respond(asgi.EncodedResponse(status, lines, content))
        head.record(self._request_id, key.id, status, self._started)
        return True

    def _continue(self) -> None:
        """Passes the request to gateway/proxy.py."""
        self._connection.on_progress = None
        self._responder.call(self._application)

    async def _application(self, _scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        context = self._head.new_context(self._request_id)
        context.receive, context.send = receive, send
        await run(context, self._started, self._forward)

    async def _forward(self, context: RequestContext) -> None:
        head = self._head
        try:
            authenticated = await admit(context, self._result, head.path.name)
            if authenticated is not None:
                await forward_verified(context, head.path, head.verification, *authenticated, sent=self._sent)
        finally:
            self._end()

    def _end(self) -> None:
        sent, self._sent = self._sent, None
        if sent is None:
            return
        sent.reservation.release()
        if self._subject:
            self._head.dependencies.key_requests.remove(self._subject)
            self._subject = ""


async def _not_called(*_: object) -> Any:
    """`receive` and `send` of a request before an application is called."""
    raise AssertionError
