"""The console's ASGI application with endpoints, web UI, health checks, background jobs and
middleware.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gatehouse.core.errors import BadRequest, GatehouseError, MethodNotAllowed, NotFound
from gatehouse.features.audit.routes import ENDPOINTS as AUDIT
from gatehouse.features.cores.routes import ENDPOINTS as CORES
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow
from gatehouse.features.identity.cookies import COOKIE
from gatehouse.features.identity.routes import ENDPOINTS as SESSIONS
from gatehouse.features.keys.routes import ENDPOINTS as KEYS
from gatehouse.features.notifications.routes import ENDPOINTS as NOTIFICATIONS
from gatehouse.features.operations.routes import ENDPOINTS as OPERATIONS
from gatehouse.features.sharing.requests.routes import ENDPOINTS as SECRET_REQUESTS
from gatehouse.features.sharing.routes import ENDPOINTS as SECRETS
from gatehouse.features.usage.routes import ENDPOINTS as USAGE
from gatehouse.features.verification.routes import ENDPOINTS as VERIFICATION
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.http import openapi
from gatehouse.platform.http.endpoint import CREDENTIAL, SESSION, SIGN_IN_CODE, Endpoint
from gatehouse.platform.http.health import Probes
from gatehouse.platform.http.idempotency import HEADER
from gatehouse.platform.http.openapi import Api
from gatehouse.platform.http.starlette_apps import (
    LoggedRoute,
    application,
    operational_routes,
    problem,
)
from gatehouse.platform.observability import Observer
from gatehouse.services.console.authentication import challenge
from gatehouse.services.console.pipeline import ConsolePipeline
from gatehouse.services.console.sign_in import sign_in_routes
from gatehouse.services.console.web import WebFiles, operations_route

ENDPOINTS = (
    *KEYS,
    *VERIFICATION,
    *AUDIT,
    *USAGE,
    *NOTIFICATIONS,
    *CORES,
    *SECRETS,
    *SECRET_REQUESTS,
    *OPERATIONS,
    *SESSIONS,
)

#: IDs have no pattern, so the response to a malformed ID is 404, as for an unknown ID.
_ID = {"type": "string", "minLength": 1, "maxLength": 100}

API = Api(
    title="Gatehouse management API",
    description="Create and manage API keys, share secrets, read usage and the audit trail, "
    "and operate a deployment. Every"
    " change is recorded in the audit trail. Errors are problem documents (RFC 9457).",
    security_schemes={
        CREDENTIAL: {
            "type": "http",
            "scheme": "bearer",
            "description": "The bootstrap token, an API key with a scope that grants a console "
            "role, such as `admin`,"
            " `role:operator` or `secrets:create`, or a JWT from the configured identity provider.",
        },
        SESSION: {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "The session cookie set by POST /v1/sessions. Requests that can change "
            "data must also send `X-CSRF-Token`. Operations with `x-step-up` can require a recent "
            "sign-in. If the last sign-in is too old, the response is 401 with the code "
            "`step_up_required`.",
        },
        SIGN_IN_CODE: {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "The code of a sign-in link (`POST /v1/sign-in-links`), which can be used once."
            ),
        },
    },
    path_parameters={
        "id": ("ID of the key.", _ID, "3fGh82kLmQ0a"),
        "secret": ("ID of the secret.", _ID, "5tRw0aB9xK2m7HqYc1dZ8e"),
        "link": ("ID of the link.", _ID, "1dZ8eU"),
        "secret_request": ("ID of the secret request.", _ID, "2mKq8ZrT4vB6nX0sWc9yEd"),
        "webhook": ("ID of the webhook.", _ID, "8kLm20pQxT4v"),
        "notification": ("ID of the notification.", _ID, "msg_0199f3a8c0d1b6e5f4a39281"),
        "destination": ("ID of the webhook, or `topic` for the SNS topic.", _ID, "8kLm20pQxT4v"),
        "session": ("ID of the session, or `current`.", _ID, "5tRw0aB9xK2m"),
        "name": ("Name of the Core.", _ID, "docs"),
        "instance": ("ID of the instance.", _ID, "docs-1"),
    },
    common_errors={CREDENTIAL: (400, 401, 403, 429, 503)},
    idempotency_key=HEADER,
    empty_body=True,
)

Close = Callable[[], Awaitable[None]]
Start = Callable[[AsyncExitStack], Awaitable[None]]


def create(
    pipeline: ConsolePipeline,
    observer: Observer,
    *,
    https: bool,
    probes: Probes,
    helpers: Probes,
    features_off: frozenset[str],
    sign_in_flow: AuthorizationCodeFlow | None,
    jobs: Sequence[PeriodicJob],
    on_start: Start,
    on_stop: Sequence[Close],
) -> ASGIApp:
    """Create the console application.

    https: the public URL uses https, so HSTS is sent.
    helpers: probes of optional dependencies. If an optional dependency fails, the console is
        degraded but available.
    features_off: names of disabled features.
    sign_in_flow: sign-in of browsers with the identity provider. None when it is not configured.
    on_start: called when the server starts the application. The exit stack ends after `on_stop`.
    on_stop: called in order at shutdown, after the jobs.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await on_start(stack)
            async with running():
                yield

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        tasks = [asyncio.create_task(job.run(observer), name=job.name) for job in jobs]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stop in on_stop:
            await stop()

    web_files = WebFiles.read()
    on_error = _error_handler(web_files, pipeline.authenticator.sessions.rules.step_up_max_age_s)
    endpoints = enabled(features_off)
    return application(
        [
            *web_files.routes(),
            operations_route(endpoints, _provider_name(sign_in_flow)),
            *sign_in_routes(sign_in_flow, pipeline),
            *operational_routes(probes, observer, helpers),
            LoggedRoute("/openapi.json", _openapi(features_off), methods=["GET"]),
            *(pipeline.route(endpoint) for endpoint in endpoints),
        ],
        {GatehouseError: on_error, HTTPException: on_error},
        lifespan,
        observer,
        https=https,
    )


def _provider_name(flow: AuthorizationCodeFlow | None) -> str | None:
    """Return the host of the identity provider if browsers can sign in with it."""
    return None if flow is None else urlsplit(flow.provider.issuer.url).netloc


def enabled(features_off: frozenset[str]) -> list[Endpoint]:
    """Return the endpoints of all enabled features."""
    return [endpoint for endpoint in ENDPOINTS if endpoint.feature not in features_off]


def document(features_off: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the OpenAPI document, which omits the endpoints of disabled features."""
    return openapi.document(API, enabled(features_off))


def _openapi(features_off: frozenset[str]) -> Callable[[Request], Awaitable[Response]]:
    @cache
    def body() -> bytes:
        return json.dumps(document(features_off), ensure_ascii=False).encode()

    async def respond(request: Request) -> Response:
        return Response(
            body(), media_type="application/json", headers={"Cache-Control": "public, max-age=300"}
        )

    return respond


def _error_handler(
    web_files: WebFiles, step_up_max_age_s: float
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def respond(request: Request, exc: Exception) -> Response:
        headers, error = {"Cache-Control": "no-store"}, exc
        if isinstance(exc, HTTPException):
            error = NotFound() if exc.status_code == 404 else BadRequest()
            if exc.status_code == 405:
                headers |= exc.headers or {}
                error = MethodNotAllowed(f"Allowed methods: {headers['Allow']}.")
        assert isinstance(error, GatehouseError)  # noqa: S101 - guaranteed by the registration
        if error.retryable:
            headers["Retry-After"] = str(error.retry_after_s)
        headers |= challenge(error, request, step_up_max_age_s=step_up_max_age_s)
        response = problem(request, error, headers)
        not_found = (
            web_files.not_found(request)
            if isinstance(exc, HTTPException) and isinstance(error, NotFound)
            else None
        )
        return not_found or response

    return respond
