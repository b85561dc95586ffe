"""Responds to verifications without waiting: the key is cached, and the worker can decide on its
rate limits without Redis.

The responses are identical to those of gateway/endpoints.py. VALID results, which are by far the
most common, are written with templates, which the endpoint functions create for each key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import msgspec

from gatehouse.core.clock import rfc3339, rounded
from gatehouse.core.keys import KeyId, KeyRecord
from gatehouse.core.verification import (
    VALID,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.verification import schemas
from gatehouse.platform.http import asgi
from gatehouse.platform.http.application import run
from gatehouse.platform.http.exchange import Exchange
from gatehouse.platform.templates import Template, placeholders
from gatehouse.services.gateway.asgi import Dependencies, RequestContext
from gatehouse.services.gateway.credentials import presented_token
from gatehouse.services.gateway.endpoints import decision, header_decision, key_id_headers

#: Maximum number of keys with templates. The oldest template is removed first.
KEYS_MAX = 5_000

PATH = "/v1/keys/verify"


class SynchronousVerification:
    """Responds to `POST` and `GET /v1/keys/verify`. The methods implement exchange.Respond."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._verification = dependencies.verification
        self._replies = _Templates(has_body=True)
        self._headers = _Templates(has_body=False)

    def respond(self, exchange: Exchange) -> bool:
        """For a request with a JSON body."""
        started, context = time.perf_counter(), self._context(exchange)
        if context.values(b"origin"):
            return False
        asgi.check_json(context.values(b"content-type"), lenient=True)
        if len(exchange.body) > self._dependencies.body_max_bytes:
            return False
        token, request = schemas.decode(exchange.body, context.client)
        return self._verify(exchange, context, token, request, decision, self._replies, started)

    def respond_to_header(self, exchange: Exchange) -> bool:
        """For a request with the token in a header."""
        started, context = time.perf_counter(), self._context(exchange)
        if context.values(b"origin"):
            return False
        token = presented_token(context)
        request = schemas.decode_parameters(exchange.scope["query_string"], context.client)
        return token is not None and self._verify(
            exchange, context, token, request, header_decision, self._headers, started
        )

    def _context(self, exchange: Exchange) -> RequestContext:
        return RequestContext(self._dependencies, exchange.scope, template=PATH)

    def _verify(
        self,
        exchange: Exchange,
        context: RequestContext,
        token: str,
        request: VerificationRequest,
        reply: _Reply,
        templates: _Templates,
        started: float,
    ) -> bool:
        parsed = self._verification.parse(token)
        result = None if parsed is None else self._verification.verify_now(parsed, request)
        if result is None:
            return False
        if isinstance(result, VerificationResult):
            template = templates.find(result)
            if template is None:
                response: asgi.Response | asgi.EncodedResponse = reply(context, request, result)
            else:
                context.verified(result, request.core)
                response = template.response(result, context.request_id)
            context.status = response.status
            exchange.respond(response)
            context.record(time.perf_counter() - started)
            return True
        rest = result

        async def handle(context: RequestContext) -> asgi.Response:
            return reply(context, request, await rest)

        async def application(_: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
            context.receive, context.send = receive, send
            await run(context, started, handle)

        exchange.call(application)
        return True


#: Returns the response to a verification, and records the result.
_Reply = Callable[[RequestContext, VerificationRequest, VerificationResult], asgi.Response]


class _Templates:
    """Templates of the VALID responses to keys that are used repeatedly."""

    def __init__(self, *, has_body: bool) -> None:
        self._has_body = has_body
        self._templates: dict[KeyId, ResponseTemplate | None] = {}

    def find(self, result: VerificationResult) -> ResponseTemplate | None:
        """The template for a result. None for results other than VALID, and at the first use of a
        key, because creating a template takes longer than a response."""
        templates, record = self._templates, result.record
        if result.code is not VALID or record is None:
            return None
        template = templates.get(record.id)
        if (
            template is not None
            and template.record is record
            and template.degraded is result.limits[0].degraded
        ):
            return template
        if record.id in templates:
            template = templates[record.id] = response_template(
                result, record, has_body=self._has_body
            )
            return template
        if len(templates) >= KEYS_MAX:
            del templates[next(iter(templates))]
        templates[record.id] = None
        return None


class ResponseTemplate(msgspec.Struct, frozen=True, gc=False):
    """Template of the VALID responses for a record. degraded: `degraded` of the rate limits.

    lines: header lines. Values: size of the body, request ID, and for each limit `remaining` and
        the seconds until the reset.
    body: None for responses without a body. Values: request ID, time, staleness, and for each limit
        `remaining` and `reset_s`.
    """

    record: KeyRecord
    degraded: bool
    lines: Template
    body: Template | None

    def response(self, result: VerificationResult, request_id: str) -> asgi.EncodedResponse:
        in_lines = ["0", request_id]
        if self.body is None:
            for state in result.limits:
                in_lines += (str(state.remaining), str(math.ceil(state.reset_s)))
            return asgi.EncodedResponse(200, self.lines.fill(in_lines), b"")
        in_body = [request_id, rfc3339(result.decided_at, "milliseconds"), str(result.staleness_ms)]
        for state in result.limits:
            remaining, reset_s = str(state.remaining), state.reset_s
            in_lines += (remaining, str(math.ceil(reset_s)))
            in_body += (remaining, str(rounded(reset_s)))
        body = self.body.fill(in_body)
        in_lines[0] = str(len(body))
        return asgi.EncodedResponse(200, self.lines.fill(in_lines), body)


def example_limits(states: Sequence[RateLimitState]) -> tuple[list[RateLimitState], list[int]]:
    """The states with placeholders, and the placeholders: for each limit, `remaining` and the
    seconds until the reset.
    """
    numbers = placeholders(2 * len(states))
    limits = [
        msgspec.structs.replace(state, remaining=remaining, reset_s=float(reset_s))
        for state, remaining, reset_s in zip(states, numbers[::2], numbers[1::2], strict=True)
    ]
    return limits, numbers


def response_template(
    result: VerificationResult, record: KeyRecord, *, has_body: bool
) -> ResponseTemplate:
    """Makes the template from a response of the endpoints whose variable parts have unique
    values.
    """
    request_id, decided_at = map(str, placeholders(2))
    size, staleness_ms = placeholders(2)
    limits, numbers = example_limits(result.limits)
    body = None
    headers = schemas.limit_headers(limits)
    if has_body:
        example = msgspec.structs.replace(result, staleness_ms=staleness_ms, limits=tuple(limits))
        reply = msgspec.structs.replace(schemas.reply(example, request_id), decided_at=decided_at)
        states = [number for limit in limits for number in (limit.remaining, limit.reset_s)]
        body = Template(asgi.encode(reply), [request_id, decided_at, staleness_ms, *states])
    else:
        headers += key_id_headers(record)
    all_headers = asgi.response_headers(
        b"{}" if has_body else b"",
        asgi.JSON,
        [(b"x-request-id", request_id.encode()), *headers],
    )
    encoded = asgi.encode_headers(
        (name, b"%d" % size if name == b"content-length" else value) for name, value in all_headers
    )
    lines = Template(encoded, [size, request_id, *numbers])
    return ResponseTemplate(record, result.limits[0].degraded, lines, body)
