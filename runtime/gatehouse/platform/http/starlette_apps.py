"""Shared parts of the console and sharing applications: routing, responses, middleware, pages and
operational endpoints.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from html import escape
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatehouse.core.actor import RequestId
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.errors import GatehouseError
from gatehouse.platform.http import asgi
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.health import Probes, readiness
from gatehouse.platform.http.security_headers import security_headers
from gatehouse.platform.observability import METRICS_TYPE, Observer
from gatehouse.platform.tracing.context import RequestTrace, parent_of
from gatehouse.platform.tracing.tracer import active_request

STYLE_PATH = "/style.css"

_STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b2430; --paper: #fbfbf9; --line: #d8dbe0; --mark: #0b5c4a;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #14181d; --line: #333a43; --mark: #6fd3b8; }
}
body {
  margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif;
}
main { max-width: 40rem; margin: 12vh auto 4rem; padding: 0 1.5rem; }
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.25; }
h1::before {
  content: ""; display: block; width: 2.5rem; height: .3rem; margin-bottom: 1rem;
  background: var(--mark);
}
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
    """Route that adds itself to the scope, so that the middleware can log its path template. head:
    a route for GET also accepts HEAD.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: Sequence[str], head: bool = True
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        if not head:
            self.methods = set(methods)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


@dataclass(slots=True)
class _Segment:
    """Routes whose path ends with a segment, by method, and the segments that follow it. None: a
    parameter.
    """

    methods: dict[str, LoggedRoute] = field(default_factory=dict)
    following: dict[str | None, _Segment] = field(default_factory=dict)


class RouteTable(BaseRoute):
    """Finds a route by path and method, in a time that does not depend on the number of routes. Of
    several routes, one without parameters comes first, then the earlier one. Raises HTTPException
    with the allowed methods for another method."""

    def __init__(self, routes: Sequence[LoggedRoute]) -> None:
        self.routes = list(routes)
        self._root = _Segment()
        for route in routes:
            segment = self._root
            for text in route.path.split("/"):
                segment = segment.following.setdefault(
                    None if text.startswith("{") else text, _Segment()
                )
            for method in route.methods or ():
                segment.methods.setdefault(method, route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        segments = [self._root]
        for text in scope["path"].split("/"):
            names = (text, None) if text else (text,)
            segments = [
                segment.following[name]
                for segment in segments
                for name in names
                if name in segment.following
            ]
        methods = {
            method: route
            for segment in reversed(segments)
            for method, route in segment.methods.items()
        }
        if not methods:
            return Match.NONE, {}
        route = methods.get(scope["method"])
        if route is None:
            scope["route"] = next(iter(methods.values()))
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(methods))})
        return route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)


def application(
    routes: Sequence[LoggedRoute],
    handlers: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]],
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    observer: Observer,
    *,
    https: bool,
) -> ASGIApp:
    """Return an application. handlers: responses to errors, by class. https: the public URL uses
    https, so HSTS is sent.
    """
    gone = dict.fromkeys((asgi.ClientGone, ClientDisconnect), _client_gone)
    exception_handlers: Any = {**handlers, **gone, Exception: _unexpected}
    app = Starlette(
        routes=[RouteTable(routes)], exception_handlers=exception_handlers, lifespan=lifespan
    )
    app.router.redirect_slashes = False
    return RequestContextMiddleware(app, observer, https=https)


def response_of(endpoint: Endpoint, result: Any) -> Response:
    """Return the response for the result of a handler: a response, None for a response without a
    body, or a struct.
    """
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status_code=endpoint.status)
    return Response(asgi.encode(result), endpoint.status, media_type="application/json")


def problem(
    request: Request, error: GatehouseError, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the problem document for an error, which is also logged."""
    request.state.code, request.state.detail = error.code, error.detail
    body = asgi.problem(error, request.state.request_id, request.state.trace_id)
    return Response(body, error.status, headers, media_type="application/problem+json")


def client_address(request: Request, addresses: ClientAddresses) -> str:
    """Return the address of the client, as reported by trusted proxies."""
    peer = request.client.host if request.client else "unknown"
    return addresses.client(peer, request.headers.getlist("x-forwarded-for"))


async def _client_gone(request: Request, exc: Exception) -> Response:
    """Set the status in logs and metrics. Nobody receives the response."""
    return Response(status_code=_CLIENT_GONE)


async def _unexpected(request: Request, exc: Exception) -> Response:
    request_id: RequestId = request.state.request_id
    error = InternalError(
        f"An internal error occurred. Include the request ID {request_id} when you report it."
    )
    return Response(
        asgi.problem(error, request_id, request.state.trace_id),
        error.status,
        media_type="application/problem+json",
    )


class RequestContextMiddleware:
    """Sets `request_id` and `trace_id` in the state of the scope, and logs `key_id`, `code` and
    `detail` if inner layers set them there."""

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
            # Starlette responds with `unexpected` and raises the exception again. Log the location
            # of the exception and hide the traceback.
            scope["state"]["detail"] = f"{type(exc).__name__} at {asgi.origin_of(exc)}"
        finally:
            self._report(scope, trace, status or _CLIENT_GONE, time.perf_counter() - started)

    def _report(self, scope: Scope, trace: RequestTrace, status: int, seconds: float) -> None:
        state = scope["state"]
        # Use the path template instead of the path, because a path may contain a token and each new
        # path would create a time series.
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


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """HTML page. `title` is escaped; `body` is trusted HTML and is not escaped."""
    return HTMLResponse(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta '
        'name="robots" content="noindex">\n'
        f'<title>{escape(title)}</title>\n<link rel="stylesheet" href="{STYLE_PATH}">\n</head>\n'
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n",
        status,
    )


def style_route() -> LoggedRoute:
    return LoggedRoute(STYLE_PATH, _style, methods=["GET"])


async def _style(request: Request) -> Response:
    return Response(
        _STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"}
    )


def operational_routes(
    required: Probes, observer: Observer, optional: Probes = (), *, scraped: bool = True
) -> list[LoggedRoute]:
    """Routes for /healthz, /readyz and /metrics.

    optional: probes whose failure makes the service degraded rather than unavailable.
    scraped: serve /metrics for a scraper in the network. A Lambda function has no scraper, and its
        URL is public.
    """

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        report, request.state.detail = await readiness(required, optional)
        status = 503 if report.status == "unavailable" else 200
        return Response(asgi.encode(report), status, media_type="application/json")

    async def metrics(request: Request) -> Response:
        return Response(observer.metrics.exposition(), headers={"Content-Type": METRICS_TYPE})

    handlers = [healthz, readyz, *([metrics] if scraped else [])]
    return [LoggedRoute(f"/{handler.__name__}", handler, methods=["GET"]) for handler in handlers]
