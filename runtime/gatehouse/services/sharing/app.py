"""The sharing service: the pages and the API through which recipients open links, and the
operational endpoints.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.errors import CrossSite, GatehouseError, MethodNotAllowed, NotFound, Unavailable
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.denials import TooManyDenied
from gatehouse.features.sharing.links import LinkService
from gatehouse.features.sharing.requests.service import RequestService
from gatehouse.platform.http import asgi
from gatehouse.platform.http.pipeline import Pipeline
from gatehouse.platform.http.request import Request
from gatehouse.platform.http.starlette_apps import (
    LoggedRoute,
    application,
    operational_routes,
    problem,
)
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import Settings, SharingSettings
from gatehouse.services.sharing.form_protection import FormProtection
from gatehouse.services.sharing.handlers import with_error_headers
from gatehouse.services.sharing.pages import STATIC, pages_of
from gatehouse.services.sharing.recipients import BODY_BYTES_MAX, Recipients
from gatehouse.services.sharing.routes import ENDPOINTS, document
from gatehouse.services.sharing.submitters import Submitters
from gatehouse.services.tracing import start_function_tracing, start_tracing

_NO_PROXIES = ClientAddresses(())


def build(settings: SharingSettings, *, scraped: bool = True) -> asgi.App:
    """Build the sharing service. `scraped`: the service exposes /metrics to a scraper in its
    network.
    """
    backend = Backend.from_settings(settings, Clock())
    observer = Observer("sharing", settings.log_level, settings.environment)
    if not isinstance(settings, Settings):
        start_function_tracing(observer)
    return create(
        start=partial(start_tracing, settings, observer),
        observer=observer,
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
        backend=backend,
        # A Lambda function has no trusted proxies, because the client address is the `sourceIp`
        # from API Gateway.
        addresses=(
            ClientAddresses(settings.trusted_proxies)
            if isinstance(settings, Settings)
            else _NO_PROXIES
        ),
    )


Start = Callable[[AsyncExitStack], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]


def create(
    *,
    start: Start | None = None,
    observer: Observer,
    https: bool,
    scraped: bool = True,
    backend: Backend | None = None,
    addresses: ClientAddresses = _NO_PROXIES,
) -> asgi.App:
    """Create the ASGI application.

    start: called when the server starts the application. The exit stack ends with the application.
    https: the public URL uses https, so HSTS and Secure cookies are sent.
    scraped: the application serves /metrics.
    backend: None if the table, the bucket or the key is not configured, in which case no link
        exists.
    addresses: determines the client address behind trusted proxies.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if start is not None:
                await start(stack)
            yield

    return application(
        [
            LoggedRoute("/", _start, methods=["GET"]),
            *([] if backend is None else _routes(backend, addresses, FormProtection(https=https))),
            LoggedRoute("/openapi.json", _openapi, methods=["GET"]),
            *(LoggedRoute(path, _static, methods=["GET"]) for path in STATIC),
            *operational_routes(
                [] if backend is None else [backend.table], observer, scraped=scraped
            ),
        ],
        {HTTPException: _http_error, GatehouseError: _error},
        lifespan,
        observer,
        https=https,
    )


def _routes(
    backend: Backend, addresses: ClientAddresses, forms: FormProtection
) -> list[LoggedRoute]:
    """Return the routes of the pages and of the API."""
    links = LinkService(backend)
    recipients = Recipients(links, forms)
    submitters = Submitters(RequestService(backend), forms)
    pipeline = Pipeline(
        services={LinkService: links, Submitters: submitters},
        body_bytes_max=BODY_BYTES_MAX,
        addresses=addresses,
        clock=backend.clock,
    )

    def page(path: str, handler: Handler, *methods: str) -> LoggedRoute:
        async def respond(http: HttpRequest) -> Response:
            return await handler(pipeline.request(http))

        return LoggedRoute(path, respond, methods=methods)

    return [
        page("/s/{link}", recipients.link, "GET", "POST"),
        page("/s/{link}/items/{item:int}", recipients.download, "POST"),
        page("/s/{link}/acknowledge", recipients.acknowledge, "POST"),
        page("/r/{request}", submitters.page, "GET", "POST"),
        *(pipeline.route(endpoint) for endpoint in ENDPOINTS),
    ]


async def _start(request: HttpRequest) -> Response:
    return pages_of(request).message("service", "intro")


@cache
def _document() -> bytes:
    return asgi.encode(document())


async def _openapi(request: HttpRequest) -> Response:
    return Response(_document(), media_type="application/json")


async def _static(request: HttpRequest) -> Response:
    media_type, content = STATIC[request.url.path]
    return Response(
        content, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"}
    )


async def _error(request: HttpRequest, exc: Exception) -> Response:
    """Return a problem document to programs and a page to browsers."""
    assert isinstance(exc, GatehouseError)  # noqa: S101 - registered for this class
    response: Response = problem(request, exc)
    if not request.url.path.startswith("/v1/"):
        response = _message(request, _page_name(exc), exc.status)
    return with_error_headers(response, exc)


def _page_name(exc: GatehouseError) -> str:
    if isinstance(exc, CrossSite):
        return "cross_site"
    if isinstance(exc, NotFound):
        return "not_found"
    if isinstance(exc, TooManyDenied):
        return "too_many_denied"
    if isinstance(exc, Unavailable):
        return "unavailable"
    return "bad_form"


def _message(request: HttpRequest, name: str, status: int) -> Response:
    return pages_of(request).message(f"{name}_title", name, status)


async def _http_error(request: HttpRequest, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this class
    api = request.url.path.startswith("/v1/")
    if exc.status_code == 405:
        error: GatehouseError = MethodNotAllowed()
        response: Response = (
            _message(request, "method", 405) if not api else await _error(request, error)
        )
        response.headers["Allow"] = (exc.headers or {})["Allow"]
        return response
    return await _error(request, NotFound("No endpoint has this path." if api else ""))
