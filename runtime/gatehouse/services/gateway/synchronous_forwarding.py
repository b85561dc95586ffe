"""Forwards requests to Cores without a task for each request.

A request is sent to a Core as soon as it has been received if there is nothing to wait for: the key
is cached, the worker can decide on its rate limits without Redis, and a connection to an instance
is idle. A small response is sent to the client as soon as it has been received. gateway/proxy.py
continues in all other cases, from the decision on the key or from the request that was sent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable

from gatehouse.core.errors import CoreUnreachable
from gatehouse.core.keys import KeyRecord
from gatehouse.core.verification import VALID, VerificationRequest, VerificationResult
from gatehouse.platform.http import asgi
from gatehouse.platform.http.application import run
from gatehouse.platform.http.exchange import Exchange
from gatehouse.platform.http.forwarding import CorePath
from gatehouse.services.gateway.asgi import Dependencies, RequestContext
from gatehouse.services.gateway.credentials import admit, presented_token
from gatehouse.services.gateway.forwarding import (
    INLINE_BYTES_MAX,
    Forwarding,
    SentRequest,
    size_of_body,
)
from gatehouse.services.gateway.proxy import (
    PATH,
    checked_path,
    find_instances,
    forward_verified,
    framed_body,
    upstream_request,
    verification_request,
)

#: Requests with one of these headers are never forwarded synchronously.
_EXCLUDED = (b"upgrade", b"transfer-encoding", b"signature-input")


class SynchronousForwarding:
    """Forwards requests with the path `/cores/{name}/{path}`."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    def respond(self, exchange: Exchange) -> bool:
        """Implements exchange.Respond."""
        started = time.perf_counter()
        context = RequestContext(self._dependencies, exchange.scope, template=PATH)
        if any(context.values(name) for name in _EXCLUDED):
            return False
        path, token = checked_path(context), presented_token(context)
        verification = self._dependencies.verification
        parsed = None if token is None else verification.parse(token)
        if parsed is None:
            return False
        request = verification_request(context, path)
        result = verification.verify_now(parsed, request)
        if result is None:
            return False
        _ForwardedRequest(exchange, context, path, request, result, started).begin()
        return True


class _ForwardedRequest:
    """One request to a Core and its response."""

    def __init__(
        self,
        exchange: Exchange,
        context: RequestContext,
        path: CorePath,
        request: VerificationRequest,
        result: VerificationResult | Awaitable[VerificationResult],
        started: float,
    ) -> None:
        self._exchange = exchange
        self._context = context
        self._path = path
        self._request = request
        self._result = result
        self._started = started
        #: None unless the request was sent to a Core, and after its end.
        self._sent: SentRequest | None = None
        #: Key family of which this is a request in progress.
        self._subject = ""

    def begin(self) -> None:
        result = self._result
        if (
            isinstance(result, VerificationResult)
            and result.code is VALID
            and result.record is not None
            and len(self._exchange.body) <= INLINE_BYTES_MAX
        ):
            try:
                if self._send(result, result.record):
                    return
            except Exception:  # noqa: S110 - the application sends the request, and reports the error
                pass
            self._end()
        self._continue()

    def _send(self, result: VerificationResult, key: KeyRecord) -> bool:
        """Sends the request to the Core. Returns False if it has to wait."""
        context, dependencies = self._context, self._context.service
        instances = find_instances(dependencies, self._path.name)
        body = self._exchange.body if context.values(b"content-length") else None
        request = upstream_request(context, self._path, key, framed_body(body))
        reservation = dependencies.load_balancer.reserve(instances, request)
        if reservation is None:
            return False
        forwarding = Forwarding(context, self._path, instances, request, result.limits)
        self._sent = SentRequest(forwarding, reservation)
        dependencies.key_requests.acquire(key.subject)
        self._subject = key.subject
        reservation.send(forwarding.request_to(reservation.core))
        reservation.idle.connection.on_progress = self._on_progress
        self._exchange.on_disconnect = self._continue
        return True

    def _on_progress(self) -> None:
        """Called when a part of the response was received."""
        sent = self._sent
        if sent is None:
            return
        connection = sent.reservation.idle.connection
        if connection.is_complete:
            if self._respond(sent):
                return
        elif not connection.has_failed:
            if not connection.has_head:
                return
            size = size_of_body(connection.headers)
            if size is not None and size <= INLINE_BYTES_MAX:
                return
        self._continue()

    def _respond(self, sent: SentRequest) -> bool:
        """Sends the complete response. Returns False if gateway/proxy.py has to respond."""
        context, forwarding, reservation = self._context, sent.forwarding, sent.reservation
        connection, result = reservation.idle.connection, self._result
        if not isinstance(result, VerificationResult):
            return False
        try:
            response = forwarding.response(reservation.core, connection.status, connection.headers)
        except CoreUnreachable:
            return False
        body = response.body
        if body is None:
            body = connection.take()
            forwarding.store(connection.headers, body)
        reservation.responded()
        forwarding.trace(reservation.core, connection.status, time.perf_counter() - self._started)
        self._end()
        context.verified(result, self._path.name)
        context.status = response.status
        context.waited_for_core(self._started)
        self._exchange.on_disconnect = None
        self._exchange.respond(asgi.Response(response.status, response.headers, body))
        context.record(time.perf_counter() - self._started)
        return True

    def _continue(self) -> None:
        """Passes the request to gateway/proxy.py."""
        if self._sent is not None:
            self._sent.reservation.idle.connection.on_progress = None
        self._exchange.call(self._application)

    async def _application(
        self, _scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send
    ) -> None:
        self._context.receive, self._context.send = receive, send
        await run(self._context, self._started, self._forward)

    async def _forward(self, context: RequestContext) -> None:
        try:
            result = self._result
            if not isinstance(result, VerificationResult):
                result = await result
            key, limits = admit(context, result, self._path.name)
            await forward_verified(context, self._path, self._request, key, limits, sent=self._sent)
        finally:
            self._end()

    def _end(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.reservation.release()
        if self._subject:
            self._context.service.key_requests.remove(self._subject)
            self._subject = ""
