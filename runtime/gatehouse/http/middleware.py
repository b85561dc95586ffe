"""The outermost layer of the Starlette doors: request id, security headers, one report a request, and no bare 500."""

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


#: Pages may load their own style sheet and nothing else, from nowhere else.
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


#: Two years. Sent when the door's public address is https (RFC 6797, 7.2 forbids it elsewhere).
STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"


_CLIENT_GONE = 499


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class InternalError(GatehouseError):
    """What a caller is told when our code is wrong: nothing but the request id."""


class Address(Route):
    """A plain route that leaves itself in the scope, which FastAPI's router does for its own routes alone."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


async def unexpected(request: Request, exc: Exception) -> Response:
    """The handler for `Exception` of every application behind an Edge."""
    request_id: str = request.state.request_id
    error = InternalError(f"Something went wrong here; quote {request_id} when you ask about it")
    return Response(asgi.problem(error, request_id), error.status, media_type="application/problem+json")


class RequestContextMiddleware:
    """Wraps a door. Inner layers find `request_id` in the scope's state, and may leave `key_id`, `code` and `detail` there."""

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

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        begun = time.perf_counter()
        try:
            await self._app(scope, receive, sending)
        except Exception as exc:
            # Starlette answers with `unexpected` and then raises on: here the log gets the place, and the server no traceback.
            scope["state"]["detail"] = f"{type(exc).__name__} at {_place(exc)}"
        finally:
            self._report(scope, request_id, status or _CLIENT_GONE, time.perf_counter() - begun)

    def _report(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        state = scope["state"]
        # The template, never the path as sent: it may hold a token, and strangers' paths would make new time series.
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
    """Where it happened, without the message: that could quote what a caller sent."""
    frames = traceback.extract_tb(exc.__traceback__)[-6:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
