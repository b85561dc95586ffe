"""Every error of the console door as problem+json: ours, FastAPI's validation errors, and the router's 404 and 405."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gatehouse.console.authentication import challenge
from gatehouse.errors import BadRequest, GatehouseError, MethodNotAllowed, NotFound, Problem
from gatehouse.http import asgi
from gatehouse.http.middleware import unexpected

#: What to send instead, by pydantic's type of error; `{}` takes the context that pydantic gives.
_FIXES = {
    "missing": "add it",
    "extra_forbidden": "remove it, or correct its spelling",
    "string_type": "send text in quotes",
    "int_type": "send a whole number",
    "list_type": "send a list",
    "model_type": "send an object",
    "model_attributes_type": "send an object",
    "dict_type": "send an object",
    "string_too_long": "send at most {max_length} characters",
    "string_too_short": "send at least {min_length} characters",
    "too_long": "send at most {max_length}",
    "too_short": "send at least {min_length}, or leave it out",
    "greater_than_equal": "send {ge} or more",
    "less_than_equal": "send {le} or less",
    "literal_error": "send one of {expected}",
    "string_pattern_mismatch": "send text that matches {pattern}",
}


_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_pattern_mismatch": "has a form that is not allowed",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "too_long": "has too many items",
    "too_short": "has too few items",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is not one of the allowed values",
}


#: Names come from the request: no more of one is repeated than a token shows of itself anyway.
_NAME_CHARS_MAX = 20


def install(app: FastAPI) -> None:
    """Registers the handlers on the application."""
    app.add_exception_handler(GatehouseError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, unexpected)


def respond(request: Request, error: GatehouseError, headers: dict[str, str] | None = None) -> Response:
    """The problem as a response, with the challenge or waiting time that its status asks for."""
    request.state.code = error.code
    if error.detail:
        request.state.detail = error.detail
    sent = {
        **(headers or {}),
        **challenge(error, request),
        **({"Retry-After": getattr(request.state, "retry_after", "1")} if error.retryable else {}),
    }
    body = asgi.problem(error, request.state.request_id)
    return Response(body, error.status, {**sent, "Cache-Control": "no-store"}, media_type="application/problem+json")


async def _ours(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, GatehouseError)  # noqa: S101 - the handler's registration says so
    return respond(request, exc)


async def _validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - the handler's registration says so
    problems = tuple(_problem(error) for error in exc.errors())
    return respond(request, BadRequest("The request does not fit; see errors", errors=problems))


async def _routing(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - the handler's registration says so
    if exc.status_code == 405:
        allowed = ", ".join(_methods(request))
        return respond(request, MethodNotAllowed(f"This address takes {allowed}"), {"Allow": allowed})
    if exc.status_code == 404:
        return respond(request, NotFound())
    return respond(request, BadRequest())


def _methods(request: Request) -> list[str]:
    """Every method that the address takes; the router names those of the first row alone."""
    return sorted({name for path, names in request.app.state.methods if path.fullmatch(request.scope["path"]) for name in names})


def _problem(error: dict[str, Any]) -> Problem:
    """One of pydantic's errors, without the value that was sent: it could be a secret."""
    kind, context = str(error["type"]), error.get("ctx") or {}
    message = _MESSAGES.get(kind) or str(error["msg"]).removeprefix("Value error, ")
    return Problem(_location(error["loc"]), message, _fix(kind, context))


def _fix(kind: str, context: dict[str, Any]) -> str:
    try:
        return _FIXES.get(kind, "").format(**context)
    except KeyError:
        return ""


def _location(parts: Sequence[str | int]) -> str:
    """`body.limits[0].quota`. Names come from the request and are cut."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part[:_NAME_CHARS_MAX]}"
    return text
