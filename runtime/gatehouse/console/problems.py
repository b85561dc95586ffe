"""Error responses of the console as problem documents (RFC 9457): its own errors and the router's 404 and 405."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gatehouse.console.authentication import challenge
from gatehouse.errors import BadRequest, GatehouseError, MethodNotAllowed, NotFound
from gatehouse.http import asgi
from gatehouse.http.middleware import unexpected


def install(app: Starlette, *, step_up_max_age_s: float) -> None:
    """Register the exception handlers."""

    def respond(request: Request, error: GatehouseError, headers: dict[str, str]) -> Response:
        request.state.code = error.code
        if error.detail:
            request.state.detail = error.detail
        if error.retryable:
            headers["Retry-After"] = getattr(request.state, "retry_after", "1")
        headers |= {**challenge(error, request, step_up_max_age_s=step_up_max_age_s), "Cache-Control": "no-store"}
        return Response(
            asgi.problem(error, request.state.request_id), error.status, headers, media_type="application/problem+json"
        )

    async def own_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, GatehouseError)  # noqa: S101 - guaranteed by the registration
        return respond(request, exc, {})

    async def routing_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 - guaranteed by the registration
        if exc.status_code == 405:
            allowed = ", ".join(_allowed_methods(request))
            return respond(request, MethodNotAllowed(f"Allowed methods: {allowed}."), {"Allow": allowed})
        return respond(request, NotFound() if exc.status_code == 404 else BadRequest(), {})

    app.add_exception_handler(GatehouseError, own_error)
    app.add_exception_handler(HTTPException, routing_error)
    app.add_exception_handler(Exception, unexpected)


def _allowed_methods(request: Request) -> list[str]:
    """Methods of every route at the path. The router reports those of the first one only."""
    path = request.scope["path"]
    routes = [route for route in request.app.routes if isinstance(route, Route) and route.path_regex.fullmatch(path)]
    return sorted({method for route in routes for method in route.methods or ()})
