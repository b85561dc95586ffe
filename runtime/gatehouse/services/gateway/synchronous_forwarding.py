"""Forwards requests to Cores without a task for each request.

A request is sent to a Core as soon as it has been received if there is nothing to wait for: the key
is cached, the worker can decide on its rate limits without Redis, and a connection to an instance
is idle. A small response is sent to the client as soon as it has been received, and a fresh stored
response immediately. gateway/proxy.py continues in all other cases: denials, large and streamed
bodies, errors and retries, and clients that disconnect.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from gatehouse.core.actor import RequestId
from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import CoreUnreachable, GatehouseError
from gatehouse.core.keys import KeyId, KeyRecord
from gatehouse.core.token import ParsedToken
from gatehouse.core.verification import VALID, VerificationRequest, VerificationResult
from gatehouse.features.cores.load_balancer import Reservation
from gatehouse.features.cores.response_cache import is_cacheable
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform.http import asgi
from gatehouse.platform.http.forwarding import CorePath
from gatehouse.platform.http_client.upstream import UpstreamRequest, request_head
from gatehouse.platform.observability import RepeatedRequest
from gatehouse.platform.tracing.context import RequestTrace
from gatehouse.services.gateway.asgi import Dependencies, RequestContext, logged_path, run
from gatehouse.services.gateway.credentials import admit, presented_token
from gatehouse.services.gateway.forwarding import (
    INLINE_BYTES_MAX,
    Forwarding,
    Revalidation,
    SentRequest,
    accept_encoding,
    added_headers,
    core_headers,
    has_body,
    origin,
    revalidation,
    size_of_body,
)
from gatehouse.services.gateway.proxy import (
    PATH,
    SCOPE,
    added_to_request,
    checked_path,
    find_instances,
    forward_verified,
    framed_body,
    target_of,
    upstream_request,
)

#: Requests with one of these headers are never forwarded synchronously.
_EXCLUDED = (b"upgrade", b"transfer-encoding", b"signature-input")

_VALID_TEXT = VALID.value
_CHUNKED = asgi.encode_headers(((b"transfer-encoding", b"chunked"),))


class SynchronousForwarding:
    """Prepares the forwarding of requests with the path `/cores/{name}/{path}`."""

    def __init__(self, dependencies: Dependencies) -> None:
        self.dependencies = dependencies
        self._line = lru_cache(maxsize=1_000)(self._new_line)

    def prepare(self, scope: asgi.Scope) -> asgi.RespondNow | None:
        """Implements asgi.PrepareResponse."""
        context = RequestContext(self.dependencies, scope, _not_called, _not_called, template=PATH)
        if any(context.values(name) for name in _EXCLUDED):
            return None
        try:
            path = checked_path(context)
            token = presented_token(context)
        except GatehouseError:
            return None
        parsed = None if token is None else self.dependencies.verification.parse(token)
        return None if parsed is None else _RequestHead(self, context, parsed, path)

    def record(
        self, head: _RequestHead, trace: RequestTrace, key_id: KeyId, status: int, started: float
    ) -> None:
        """Counts and logs a request after the response, like RequestContext."""
        dependencies, seconds = self.dependencies, time.perf_counter() - started
        dependencies.observer.metrics.decision(VALID)
        dependencies.usage.count(key_id, head.path.name, _VALID_TEXT)
        self._line(head.method, status).record(trace, seconds, key_id, head.logged_path)

    def _new_line(self, method: str, status: int) -> RepeatedRequest:
        return self.dependencies.observer.repeated_request(
            method=method, route=PATH, status=status, code=_VALID_TEXT, path=None
        )


class _RequestHead:
    """The head of a request."""

    def __init__(
        self,
        forwarding: SynchronousForwarding,
        context: RequestContext,
        token: ParsedToken,
        path: CorePath,
    ) -> None:
        self.forwarding = forwarding
        self.dependencies = forwarding.dependencies
        self.scope = context.scope
        self.path = path
        self.trace_parent = context.trace_parent
        self.logged_path = logged_path(
            self.scope["raw_path"], self.dependencies.verification.finder.prefix
        )
        self.method: str = self.scope["method"]
        self.request = VerificationRequest(
            scopes=(SCOPE,), core=path.name, address=context.client, method=self.method
        )
        self._token = token
        self._is_framed = bool(context.values(b"content-length"))
        self._context = context
        self._target = target_of(path.path, self.scope["query_string"])

    def __call__(self, body: bytes) -> asgi.Deferred | None:
        started, dependencies = time.perf_counter(), self.dependencies
        if len(body) > INLINE_BYTES_MAX:
            return None
        request = UpstreamRequest(self.method, self._target, [], body if self._is_framed else None)
        try:
            instances = find_instances(dependencies, self.path.name)
            reservation = dependencies.load_balancer.reserve(instances, request)
        except GatehouseError:
            return None
        if reservation is None:
            return None
        try:
            result = dependencies.verification.verify_now(self._token, self.request)
        except Exception:
            # the application responds to the request, and logs the error if it is unexpected
            result = None
        if result is None:
            reservation.release()
            return None
        return _Exchange(self, started, result, request, SentRequest(reservation, instances))

    def revalidation(self, core: CoreRecord) -> Revalidation | None:
        """State for the use of the cache, or None if the request cannot be served from the
        cache.
        """
        context = self._context
        if self.method != "GET" or self._is_framed or not is_cacheable("GET", context.fields):
            return None
        return revalidation(
            self.dependencies, core, origin(context) + self._target, accept_encoding(context)
        )

    def encode(
        self,
        request_id: RequestId,
        trace: RequestTrace,
        key: KeyRecord,
        reservation: Reservation,
        request: UpstreamRequest,
    ) -> bytes:
        """The encoded head of a request to an instance. Raises CoreNotRegistered, BadRequest."""
        context = self.new_context(request_id, trace)
        body, framing = framed_body(request.body if isinstance(request.body, bytes) else None)
        headers = [*framing, *added_to_request(context, key)]
        forwarded = upstream_request(context, self.path.path, headers, body, upgrade=False)
        complete = Forwarding(context, [], forwarded, ()).for_instance(reservation.core, None)
        return request_head(complete, reservation.idle.host, chunked=False)

    def new_context(self, request_id: RequestId, trace: RequestTrace) -> RequestContext:
        context = RequestContext(
            self.dependencies, self.scope, _not_called, _not_called, request_id, PATH
        )
        context.known_trace = trace
        return context


class _Exchange(asgi.Deferred):
    """One request to a Core and its response."""

    def __init__(
        self,
        head: _RequestHead,
        started: float,
        result: VerificationResult,
        request: UpstreamRequest,
        sent: SentRequest,
    ) -> None:
        self.scope = head.scope
        self._head = head
        self._started = started
        self._result = result
        self._request = request
        self._request_id = asgi.request_id()
        self._trace = head.dependencies.observer.tracer.begin(self._request_id, head.trace_parent)
        #: None if the request is not sent to a Core, or after its end.
        self._sent: SentRequest | None = sent
        self._connection = sent.reservation.idle.connection
        self._subject = ""

    def begin(self) -> None:
        if not self._begin():
            self._end()
            self._continue()

    def on_disconnect(self) -> None:
        self._continue()

    def _begin(self) -> bool:
        """Sends the request to the Core. Returns False if gateway/proxy.py has to respond, because
        the request is denied or cannot be sent.
        """
        head, key, sent = self._head, self._result.record, self._sent
        if self._result.code is not VALID or key is None or sent is None:
            return False
        reservation = sent.reservation
        try:
            head.dependencies.key_requests.acquire(key.subject)
            self._subject = key.subject
            encoded = head.encode(self._request_id, self._trace, key, reservation, self._request)
        except GatehouseError:
            return False
        revalidation = head.revalidation(reservation.core)
        if revalidation is not None and revalidation.cached is not None:
            encoded = encoded[:-2] + b"if-none-match: %b\r\n\r\n" % revalidation.cached.etag.encode(
                "ascii"
            )
        sent.revalidation = revalidation
        reservation.send(self._request, encoded)
        self._connection.on_progress = self._on_progress
        return True

    def _on_progress(self) -> None:
        """Called when a part of the response was received."""
        connection = self._connection
        if connection.is_complete:
            if self._respond_from_core():
                return
        elif not connection.has_failed:
            if not connection.has_head:
                return
            size = size_of_body(connection.headers)
            if size is not None and size <= INLINE_BYTES_MAX:
                return
        self._continue()

    def _respond_from_core(self) -> bool:
        """Sends the response of the Core to the client. Returns False if gateway/proxy.py has to
        respond.
        """
        connection, sent = self._connection, self._sent
        status, headers, body, outcome = connection.status, connection.headers, None, ""
        if sent is None or not 200 <= status < 600:
            return False
        if sent.revalidation is not None:
            try:
                status, headers, body, outcome = sent.revalidation.apply(status, headers)
            except CoreUnreachable:
                return False
        return self._respond(status, headers, body, outcome)

    def _respond(
        self, status: int, headers: list[tuple[str, str]], body: bytes | None, cache_outcome: str
    ) -> bool:
        """Sends a complete response. body: None for the body that the Core sent. Returns False if
        gateway/proxy.py has to respond."""
        head, sent, key = self._head, self._sent, self._result.record
        if sent is None or key is None:
            return False
        cache = head.dependencies.response_cache
        rate = limit_headers(self._result.limits)
        returned = core_headers(headers, status, [name for name, _ in rate])
        lines, content = (
            asgi.encode_headers([*returned, *added_headers(rate, self._request_id)]),
            b"",
        )
        if has_body(head.method, status):
            is_chunked = not any(name == b"content-length" for name, _ in returned)
            if is_chunked and self.scope["http_version"] != "1.1":
                return False
            content = self._connection.take() if body is None else body
            if (
                body is None
                and sent.revalidation is not None
                and cache is not None
                and cache.storable(status, headers)
            ):
                sent.revalidation.store(headers, content)
            if is_chunked:
                lines, content = lines + _CHUNKED, asgi.encode_chunks(content)
        if cache_outcome:
            head.dependencies.observer.metrics.core_cache(cache_outcome)
        sent.reservation.responded()
        if self._trace.sampled:
            tracer, core, seconds = (
                head.dependencies.observer.tracer,
                sent.reservation.core,
                time.perf_counter() - self._started,
            )
            names = {"method": head.method, "core": core.name, "instance": core.instance_id}
            tracer.request_to_core(
                self._trace, **names, status=self._connection.status, seconds=seconds
            )
        self._end()
        self.respond(asgi.EncodedResponse(status, lines, content))
        head.forwarding.record(head, self._trace, key.id, status, self._started)
        return True

    def _continue(self) -> None:
        """Passes the request to gateway/proxy.py."""
        self._connection.on_progress = None
        self.call(self._application)

    async def _application(
        self, _scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send
    ) -> None:
        context = self._head.new_context(self._request_id, self._trace)
        context.receive, context.send = receive, send
        await run(context, self._started, self._forward)

    async def _forward(self, context: RequestContext) -> None:
        head = self._head
        try:
            authenticated = await admit(context, self._result, head.path.name)
            if authenticated is not None:
                await forward_verified(
                    context, head.path, head.request, *authenticated, sent=self._sent
                )
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
