"""Outermost middleware of the Starlette services: request ID, security headers, one log line per request, error responses."""

from __future__ import annotations

import time
import traceback

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatehouse.errors import GatehouseError
from gatehouse.http import asgi
from gatehouse.observability import Observer

REQUEST_ID_HEADER = "X-Request-Id"

#: Pages may load styles and images of their own origin only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

#: Two years. Sent if the public URL uses https; RFC 6797, section 7.2 forbids the header over http.
STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"
_CLIENT_GONE = 499
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class InternalError(GatehouseError):
    """Unexpected exception. The response contains only the request ID."""


class Address(Route):
    """Route that adds itself to the scope, so that the middleware can log its path template."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


async def unexpected(request: Request, exc: Exception) -> Response:
    """Exception handler for `Exception` of every application behind RequestContextMiddleware."""
    request_id: str = request.state.request_id
    error = InternalError(f"An internal error occurred. Include the request ID {request_id} when you report it.")
    return Response(asgi.problem(error, request_id), error.status, media_type="application/problem+json")


class RequestContextMiddleware:
    """Sets `request_id` in the state of the scope and logs `key_id`, `code` and `detail` if inner layers set them there."""

    def __init__(self, app: ASGIApp, observer: Observer, *, https: bool) -> None:
        self._app = app
        self._observer = observer
        self._headers = {**HEADERS, **({"Strict-Transport-Security": STRICT_TRANSPORT} if https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = asgi.request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as exc:
            # Starlette responds with `unexpected` and raises again. Log the location and hide the traceback from the server.
            scope["state"]["detail"] = f"{type(exc).__name__} at {_place(exc)}"
        finally:
            self._report(scope, request_id, status or _CLIENT_GONE, time.perf_counter() - started)

    def _report(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        state = scope["state"]
        # The path template, not the path: a path may contain a token, and each new path would create a time series.
        route = getattr(scope.get("route"), "path", "") or "none"
        self._observer.request(
            request_id=request_id,
            method=scope["method"] if scope["method"] in _METHODS else "other",
            route=route,
            path=route,
            status=status,
            seconds=seconds,
            key_id=state.get("key_id"),
            code=state.get("code"),
            detail=state.get("detail", ""),
        )


def _place(exc: BaseException) -> str:
    """Stack frames of an exception, without its message, which could contain parts of the request."""
    frames = traceback.extract_tb(exc.__traceback__)[-6:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
