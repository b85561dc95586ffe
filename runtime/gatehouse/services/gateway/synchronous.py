"""Responds to verifications without waiting: the key is cached, and the worker can decide on its
rate limits without Redis.

The responses are identical to those of gateway/endpoints.py. VALID results, which are by far the
most common, are written with templates, which the endpoint functions create for each key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from gatehouse.core.clock import rfc3339, rounded
from gatehouse.core.errors import GatehouseError
from gatehouse.core.keys import KeyId, KeyRecord
from gatehouse.core.token import ParsedToken
from gatehouse.core.verification import (
    VALID,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.verification import schemas
from gatehouse.platform.http import asgi
from gatehouse.platform.observability import RepeatedRequest
from gatehouse.platform.templates import Template, placeholders
from gatehouse.platform.tracing.context import TraceParent
from gatehouse.services.gateway.asgi import Dependencies, RequestContext, response_headers
from gatehouse.services.gateway.credentials import presented_token
from gatehouse.services.gateway.endpoints import decision, header_decision, key_id_headers

#: Maximum number of keys with templates. The oldest template is removed first.
KEYS_MAX = 5_000

PATH = "/v1/keys/verify"
_VALID_TEXT = VALID.value


class SynchronousVerification:
    """The functions that prepare responses to `POST` and `GET /v1/keys/verify`."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._verification = dependencies.verification
        self._observer = dependencies.observer
        self._usage = dependencies.usage
        self._replies = _Templates(has_body=True)
        self._headers = _Templates(has_body=False)
        self._post = self._observer.repeated_request(
            method="POST", route=PATH, status=200, code=_VALID_TEXT, path=PATH
        )
        self._get = self._observer.repeated_request(
            method="GET", route=PATH, status=200, code=_VALID_TEXT, path=PATH
        )

    def prepare(self, scope: asgi.Scope) -> asgi.RespondNow | None:
        """For a request with a JSON body."""
        try:
            context = self._context(scope)
            asgi.check_json(context.values(b"content-type"), lenient=True)
        except GatehouseError:
            return None
        return partial(self._verify_body, scope, context.client, context.trace_parent)

    def prepare_header(self, scope: asgi.Scope) -> asgi.RespondNow | None:
        """For a request with the token in a header."""
        try:
            context = self._context(scope)
            token = presented_token(context)
            request = schemas.decode_parameters(scope["query_string"], context.client)
        except GatehouseError:
            return None
        parsed = None if token is None else self._verification.parse(token)
        if parsed is None:
            return None
        return partial(self._verify_header, scope, parsed, request, context.trace_parent)

    def _verify_body(
        self, scope: asgi.Scope, client: str, parent: TraceParent | None, body: bytes
    ) -> asgi.Response | asgi.EncodedResponse | None:
        started = time.perf_counter()
        if len(body) > self._dependencies.body_max_bytes:
            return None
        try:
            token, request = schemas.decode(body, client)
            parsed = self._verification.parse(token)
            result = None if parsed is None else self._verification.verify_now(parsed, request)
        except Exception:
            # the application responds to the request, and logs the error if it is unexpected
            return None
        if result is None:
            return None
        template = None if request.limits else self._replies.find(result)
        if template is None:
            context = self._context(scope)
            return _record(context, decision(context, request, result), started)
        return self._respond(self._post, template, result, request.core, parent, started)

    def _verify_header(
        self,
        scope: asgi.Scope,
        token: ParsedToken,
        request: VerificationRequest,
        parent: TraceParent | None,
        _body: bytes,
    ) -> asgi.Response | asgi.EncodedResponse | None:
        started = time.perf_counter()
        try:
            result = self._verification.verify_now(token, request)
        except Exception:
            return None
        if result is None:
            return None
        template = self._headers.find(result)
        if template is None:
            context = self._context(scope)
            return _record(context, header_decision(context, request, result), started)
        return self._respond(self._get, template, result, request.core, parent, started)

    def _context(self, scope: asgi.Scope) -> RequestContext:
        return RequestContext(self._dependencies, scope, _not_called, _not_called, template=PATH)

    def _respond(
        self,
        line: RepeatedRequest,
        template: ResponseTemplate,
        result: VerificationResult,
        core: str | None,
        parent: TraceParent | None,
        started: float,
    ) -> asgi.EncodedResponse:
        """Responds with a template, and counts and logs the request like RequestContext."""
        request_id = asgi.request_id()
        key_id = template.record.id
        response = template.response(result, request_id)
        self._observer.metrics.decision(VALID)
        self._usage.count(key_id, core or "", _VALID_TEXT)
        trace = self._observer.tracer.begin(request_id, parent)
        line.record(trace, time.perf_counter() - started, key_id)
        return response


def _record(context: RequestContext, response: asgi.Response, started: float) -> asgi.Response:
    context.status = response.status
    context.record(time.perf_counter() - started)
    return response


async def _not_called(*_: object) -> Any:
    """`receive` and `send` of a synchronous request."""
    raise AssertionError


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
    all_headers = response_headers(b"{}" if has_body else b"", request_id, headers)
    encoded = asgi.encode_headers(
        (name, b"%d" % size if name == b"content-length" else value) for name, value in all_headers
    )
    lines = Template(encoded, [size, request_id, *numbers])
    return ResponseTemplate(record, result.limits[0].degraded, lines, body)
