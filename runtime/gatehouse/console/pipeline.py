"""Processing of a management API request: authenticate, authorize, read the body, then validate it and call the handler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from gatehouse.audit.service import DeniedAttempts
from gatehouse.console.authentication import authenticate
from gatehouse.console.authorization import check_scopes, check_target
from gatehouse.console.dependencies import Dependencies, Request
from gatehouse.console.idempotency import run_once
from gatehouse.errors import BadRequest, Forbidden, Problem, RateLimited, Unauthorized
from gatehouse.http import asgi, json_body
from gatehouse.http.endpoint import SIGNATURE, Endpoint
from gatehouse.http.validation import check_query, invalid, validate, validate_query
from gatehouse.identity.lockout import Lockout
from gatehouse.identity.models import Role, check

App = Callable[[HttpRequest], Awaitable[Response]]


def application(endpoint: Endpoint, dependencies: Dependencies, lockout: Lockout, denied: DeniedAttempts) -> App:
    """The Starlette endpoint of a declaration."""

    async def respond(http: HttpRequest) -> Response:
        request = Request(http, dependencies, lockout, denied)
        if SIGNATURE in endpoint.security:
            return _response(endpoint, request, await _handler(endpoint)(request))
        await _authorize(endpoint, request)
        _check_parameters(http)
        content = await _json(request)
        try:
            check_scopes(endpoint, request, content)
        except (Forbidden, Unauthorized) as exc:
            await denied.record(request.source_address, request.request_id, exc.code)
            raise

        async def act() -> Response:
            arguments: dict[str, Any] = dict(http.path_params)
            if endpoint.query is not None:
                arguments["query"] = validate_query(http.query_params, endpoint.query)
            if endpoint.body is not None:
                arguments["body"] = _body(endpoint, request, content)
            return _response(endpoint, request, await _handler(endpoint)(request, **arguments))

        return await run_once(endpoint, request, content, act)

    return respond


async def _authorize(endpoint: Endpoint, request: Request) -> None:
    """Check credential, role and target. A denial is recorded in the audit trail."""
    try:
        request.caller = await authenticate(request)
        request.http.state.key_id = request.caller.log_id
        check(request.caller.roles, frozenset(Role(role) for role in endpoint.roles))
        await check_target(endpoint, request)
    except (Unauthorized, Forbidden, RateLimited) as exc:
        await request.denied.record(request.source_address, request.request_id, exc.code)
        raise


def _check_parameters(http: HttpRequest) -> None:
    check_query(http.scope["query_string"])
    counts = Counter(name for name, _ in http.query_params.multi_items())
    repeated = next((name for name, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise invalid(f"query.{repeated[:20]}", "is sent more than once", "send it once")
    if len(http.headers.getlist("if-match")) > 1:
        raise invalid("header.if-match", "is sent more than once", "send it once, with one version")


async def _json(request: Request) -> object:
    """The JSON value of the body, None without a body. Raises UnsupportedMediaType and BadRequest."""
    if request.http.method in ("GET", "HEAD") or not await request.read_body():
        return None
    asgi.check_json(request.http.headers.getlist("content-type"))
    return json_body.parse(request.content)


def _body(endpoint: Endpoint, request: Request, content: object) -> Any:
    """The validated body. A body without required fields may be omitted."""
    if request.content:
        return validate(content, endpoint.body, "body")
    try:
        return validate({}, endpoint.body, "body")
    except BadRequest:
        problem = Problem("body", "is missing", "send a JSON object")
        raise BadRequest("The request is invalid. See `errors`.", errors=(problem,)) from None


def _handler(endpoint: Endpoint) -> Callable[..., Awaitable[Any]]:
    assert endpoint.handler is not None  # noqa: S101 - every endpoint of the console has one
    return endpoint.handler


def _response(endpoint: Endpoint, request: Request, result: Any) -> Response:
    """What a handler returned, with the headers that it set."""
    if isinstance(result, Response):
        response = result
    elif result is None:
        response = Response(status_code=endpoint.status)
    else:
        response = Response(asgi.encode(result), endpoint.status, media_type="application/json")
    response.raw_headers.extend(field for field in request.response.raw_headers if field[0] != b"content-length")
    return response
