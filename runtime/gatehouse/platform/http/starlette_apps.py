"""Shared parts of the console and sharing applications: request middleware, error responses, pages and operational endpoints."""

from __future__ import annotations

import time
import traceback
from html import escape

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatehouse.core.actor import RequestId
from gatehouse.core.errors import GatehouseError
from gatehouse.platform.exemplars import metrics_type
from gatehouse.platform.http import asgi
from gatehouse.platform.http.health import Probes, readiness
from gatehouse.platform.http.security_headers import security_headers
from gatehouse.platform.observability import Observer
from gatehouse.platform.tracing.context import RequestTrace, parent_of
from gatehouse.platform.tracing.tracer import active_request

STYLE_PATH = "/style.css"

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b2430; --paper: #fbfbf9; --line: #d8dbe0; --mark: #0b5c4a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #14181d; --line: #333a43; --mark: #6fd3b8; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 40rem; margin: 12vh auto 4rem; padding: 0 1.5rem; }
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.25; }
h1::before { content: ""; display: block; width: 2.5rem; height: .3rem; margin-bottom: 1rem; background: var(--mark); }
a { color: var(--mark); }
code { padding: .1em .35em; border: 1px solid var(--line); border-radius: .25em; font-size: .9em; }
li { margin: .3rem 0; }
"""

REQUEST_ID_HEADER = "X-Request-Id"

_CLIENT_GONE = 499
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class InternalError(GatehouseError):
    """Response to an unexpected exception. The response contains only the request ID."""


class LoggedRoute(Route):
    """Route that adds itself to the scope, so that the middleware can log its path template."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


async def unexpected(request: Request, exc: Exception) -> Response:
    """Handler for `Exception` in every application behind RequestContextMiddleware."""
    request_id: RequestId = request.state.request_id
    error = InternalError(f"An internal error occurred. Include the request ID {request_id} when you report it.")
    return Response(asgi.problem(error, request_id, request.state.trace_id), error.status, media_type="application/problem+json")


class RequestContextMiddleware:
    """Sets `request_id` and `trace_id` in the state of the scope, and logs `key_id`, `code` and `detail` if inner layers set them
    there."""

    def __init__(self, app: ASGIApp, observer: Observer, *, https: bool) -> None:
        self._app = app
        self._observer = observer
        self._headers = security_headers(https=https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, headers = asgi.request_id(), Headers(scope=scope)
        parent = parent_of(headers.getlist("traceparent"), headers.getlist("x-amzn-trace-id"))
        trace = self._observer.tracer.begin(request_id, parent)
        scope.setdefault("state", {}).update(request_id=request_id, trace_id=trace.trace_id)
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
            with active_request(self._observer.tracer, trace):
                await self._app(scope, receive, send_with_headers)
        except Exception as exc:
            # Starlette responds with `unexpected` and raises the exception again. Log the location of the exception and hide the
            # traceback.
            scope["state"]["detail"] = f"{type(exc).__name__} at {_location(exc)}"
        finally:
            self._report(scope, trace, status or _CLIENT_GONE, time.perf_counter() - started)

    def _report(self, scope: Scope, trace: RequestTrace, status: int, seconds: float) -> None:
        state = scope["state"]
        # Use the path template instead of the path, because a path may contain a token and each new path would create a time
        # series.
        route = getattr(scope.get("route"), "path", "") or "none"
        self._observer.request(
            trace=trace,
            method=scope["method"] if scope["method"] in _METHODS else "other",
            route=route,
            path=route,
            status=status,
            seconds=seconds,
            key_id=state.get("key_id"),
            code=state.get("code"),
            detail=state.get("detail", ""),
        )


def _location(exc: BaseException) -> str:
    """Stack frames of an exception, without its message, which could contain parts of the request."""
    frames = traceback.extract_tb(exc.__traceback__)[-6:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """HTML page. `title` is escaped; `body` is trusted HTML and is not escaped."""
    return HTMLResponse(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f'<title>{escape(title)}</title>\n<link rel="stylesheet" href="{STYLE_PATH}">\n</head>\n'
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n",
        status,
    )


def style_route() -> LoggedRoute:
    return LoggedRoute(STYLE_PATH, _style, methods=["GET"])


async def _style(request: Request) -> Response:
    return Response(_STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


def operational_routes(required: Probes, observer: Observer, optional: Probes = (), *, scraped: bool = True) -> list[LoggedRoute]:
    """Routes for /healthz, /readyz and /metrics.

    optional: probes whose failure makes the service degraded rather than unavailable.
    scraped: serve /metrics for a scraper in the network. A Lambda function has no scraper, and its URL is public.
    """

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        report, request.state.detail = await readiness(required, optional)
        status = 503 if report.status == "unavailable" else 200
        return Response(asgi.encode(report), status, media_type="application/json")

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        return Response(observer.metrics.exposition(accept), headers={"Content-Type": metrics_type(accept)})

    handlers = [healthz, readyz, *([metrics] if scraped else [])]
    return [LoggedRoute(f"/{handler.__name__}", handler, methods=["GET"]) for handler in handlers]
