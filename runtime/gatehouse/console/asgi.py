"""The console as an ASGI application: the endpoints, the start page, health checks, background jobs and middleware."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gatehouse.audit.service import WINDOW_S, DeniedAttempts
from gatehouse.console import pipeline, problems
from gatehouse.console.background_jobs import PeriodicJob
from gatehouse.console.dependencies import Dependencies
from gatehouse.console.routes import API, ENDPOINTS
from gatehouse.http import openapi, operational_routes
from gatehouse.http.endpoint import Endpoint
from gatehouse.http.middleware import Address, RequestContextMiddleware
from gatehouse.http.pages import page, style_route
from gatehouse.identity.lockout import Lockout

_PAGE = """\
<p>This is the management API of a Gatehouse deployment. Use it with an admin credential to create and manage API keys. Services
behind the gateway are not reachable here.</p>
<ul>
<li><a href="/openapi.json">/openapi.json</a> describes the API.</li>
<li><code>gatehouse keys list</code> lists the keys from a terminal.</li>
</ul>"""

Close = Callable[[], Awaitable[None]]


def create(dependencies: Dependencies, *, jobs: Sequence[PeriodicJob] = (), on_stop: Sequence[Close] = ()) -> ASGIApp:
    """The application. `on_stop`: called in order when it stops, to close what `dependencies` opened."""
    denied = DeniedAttempts(dependencies.audit, dependencies.clock, service="console")
    lockout = Lockout(dependencies.clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Writes the count of denials when their minute is over, even if no further request arrives.
        periodic = [PeriodicJob("denied attempts", WINDOW_S, denied.run_once), *jobs]
        tasks = [asyncio.create_task(job.run(dependencies.observer), name=job.name) for job in periodic]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await denied.flush()
        for stop in on_stop:
            await stop()

    app = Starlette(
        routes=[
            Address("/", _page, methods=["GET"]),
            style_route(),
            *operational_routes.routes(dependencies.probes, dependencies.observer, dependencies.helpers),
            Address("/openapi.json", _openapi(dependencies.features_off), methods=["GET"]),
            *(_route(endpoint, dependencies, lockout, denied) for endpoint in enabled(dependencies.features_off)),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    problems.install(app, step_up_max_age_s=dependencies.sessions.rules.step_up_max_age_s)
    return RequestContextMiddleware(app, dependencies.observer, https=dependencies.https)


def enabled(features_off: frozenset[str]) -> list[Endpoint]:
    """The endpoints of a console without the features that are off."""
    return [endpoint for endpoint in ENDPOINTS if endpoint.feature not in features_off]


def document(features_off: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The OpenAPI document of a console without the features that are off."""
    return openapi.document(API, enabled(features_off))


def _route(endpoint: Endpoint, dependencies: Dependencies, lockout: Lockout, denied: DeniedAttempts) -> Address:
    application = pipeline.application(endpoint, dependencies, lockout, denied)
    route = Address(endpoint.path, application, methods=[endpoint.method])
    route.methods = {endpoint.method}  # without the HEAD that Starlette adds
    return route


async def _page(request: Request) -> Response:
    return page("Gatehouse console", _PAGE)


def _openapi(features_off: frozenset[str]) -> Callable[[Request], Awaitable[Response]]:
    body = json.dumps(document(features_off), ensure_ascii=False).encode()

    async def respond(request: Request) -> Response:
        return Response(body, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    return respond
