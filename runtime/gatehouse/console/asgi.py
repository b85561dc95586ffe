"""Puts the console door together: the table of routes, the problems, the page at `/`, and the edge around all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp

from gatehouse import __version__
from gatehouse.audit.service import WINDOW_S, DeniedAttempts
from gatehouse.console import problems
from gatehouse.console.authentication import Access
from gatehouse.console.authorization import STEP_UP, needed
from gatehouse.console.background_jobs import PeriodicJob
from gatehouse.console.dependencies import Dependencies
from gatehouse.console.endpoint import ManagementRoute
from gatehouse.console.openapi import complete, problem_responses
from gatehouse.console.routes import ROUTES, EndpointRow, there
from gatehouse.http import health as vitals
from gatehouse.http.middleware import Address, RequestContextMiddleware
from gatehouse.http.pages import page, style_route
from gatehouse.identity.lockout import Lockout
from gatehouse.identity.routes import sign_in
from gatehouse.leaks.routes import SignedReportRoute

_TITLE = "Gatehouse management API"


_DESCRIPTION = "Issue, list and revoke keys; read the audit trail. Every act is audited. Errors are RFC 9457 problem documents."


_PAGE = """\
<p>This is the management door of a Gatehouse. Keys are made, listed and revoked here, with an admin credential;
services are reached through the gateway, not through this door.</p>
<ul>
<li><a href="/openapi.json">/openapi.json</a> describes the API.</li>
<li><code>gatehouse keys list</code> does the same from a terminal.</li>
</ul>"""


Close = Callable[[], Awaitable[None]]


def create(parts: Dependencies, *, chores: Sequence[PeriodicJob] = (), on_stop: Sequence[Close] = ()) -> ASGIApp:
    """The ASGI application. `on_stop`: what to close at the end of its lifespan, in order, such as the pool's `close`."""
    denied = DeniedAttempts(parts.audit, parts.clock, service="console")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Without its turns, the count of a flood that has ended would wait for the next refusal.
        turns = [PeriodicJob("denied attempts", WINDOW_S, denied.run_once), *chores]
        tasks = [asyncio.create_task(chore.run(parts.observer), name=chore.name) for chore in turns]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await denied.flush()
        for stop in on_stop:
            await stop()

    routes = [row for row in ROUTES if there(row, parts.features_off)]
    plain = [Address("/", _page, methods=["GET"]), style_route(), *vitals.routes(parts.probes, parts.observer, parts.helpers)]
    app = FastAPI(
        title=_TITLE,
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,  # its page loads scripts from another origin
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would record refused values
        lifespan=lifespan,
        routes=list[BaseRoute](plain),
    )
    app.state.parts = parts
    app.state.denied = denied
    app.state.lockout = Lockout(parts.clock)
    for router in _routers(routes):
        app.include_router(router)
    app.state.methods = [(compile_path(row.path)[0], {row.method}) for row in routes]
    app.state.methods += [(route.path_regex, route.methods or set()) for route in plain]
    problems.install(app)
    app.router.routes.append(Address("/openapi.json", _openapi(parts.features_off), methods=["GET"]))
    return RequestContextMiddleware(app, parts.observer, https=parts.https)


def _routers(rows: Sequence[EndpointRow]) -> Iterator[APIRouter]:
    for who, route_class in ((Access.ADMIN, ManagementRoute), (Access.SIGNED, SignedReportRoute)):
        router = APIRouter(route_class=route_class)
        for row in rows:
            if row.who is who:
                router.add_api_route(
                    row.path,
                    row.endpoint,
                    methods=[row.method],
                    status_code=row.status,
                    tags=[row.tag],
                    operation_id=row.endpoint.__name__,
                    responses=problem_responses(row),
                    openapi_extra={
                        "security": [
                            {who.value: []},
                            *([{"session": []}] if who is Access.ADMIN and row.endpoint is not sign_in else []),
                        ],
                        **_step_up(row),
                        "x-roles": sorted(role.value for role in needed(row.method, row.path)),
                    },
                )
        yield router


def document(off: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The OpenAPI document of a console without the features that are `off`; the same for everybody and for ever."""
    rows = [row for row in ROUTES if there(row, off)]
    routes = [route for router in _routers(rows) for route in router.routes]
    return complete(get_openapi(title=_TITLE, version=__version__, description=_DESCRIPTION, routes=routes), rows)


def _step_up(row: EndpointRow) -> dict[str, str]:
    """When a session has to show its credential again, for a route that may change something."""
    when = STEP_UP.get(f"{row.method} {row.path}")
    return {} if when is None else {"x-step-up": when.value}


async def _page(request: Request) -> Response:
    return page("Gatehouse: the console door", _PAGE)


def _openapi(off: frozenset[str]) -> Callable[[Request], Awaitable[Response]]:
    """Made once."""
    body = json.dumps(document(off), ensure_ascii=False).encode()

    async def openapi(request: Request) -> Response:
        return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    return openapi
