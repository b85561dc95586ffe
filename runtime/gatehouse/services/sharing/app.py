"""The sharing service: the pages and the API through which recipients open links, and the
operational endpoints.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.errors import CrossSite, GatehouseError, MethodNotAllowed, NotFound, Unavailable
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.denials import TooManyDenied
from gatehouse.features.sharing.links import LinkService
from gatehouse.features.sharing.models import LAMBDA_FILES_BYTES_MAX
from gatehouse.features.sharing.requests.submissions import SubmissionService
from gatehouse.platform.http import asgi
from gatehouse.platform.http.health import Probes
from gatehouse.platform.http.starlette_apps import (
    LoggedRoute,
    application,
    operational_routes,
    problem,
)
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import Settings, SharingSettings
from gatehouse.services.sharing.form_protection import FormProtection
from gatehouse.services.sharing.handlers import api_routes, pages_of, with_error_headers
from gatehouse.services.sharing.pages import STATIC
from gatehouse.services.sharing.public_routes import LINK_ENDPOINTS, SUBMISSION_ENDPOINTS, document
from gatehouse.services.sharing.recipients import BODY_BYTES_MAX, Recipients
from gatehouse.services.sharing.submitters import UPLOADS_BYTES_MAX, Submitters
from gatehouse.services.tracing import start_function_tracing, start_tracing


def build(settings: SharingSettings, *, scraped: bool = True) -> asgi.App:
    """Build the sharing service. `scraped`: the service exposes /metrics to a scraper in its
    network.
    """
    backend = Backend.from_settings(settings, Clock())
    container, file_max_bytes = isinstance(settings, Settings), settings.sharing_file_max_bytes
    observer = Observer("sharing", settings.log_level, settings.environment)
    if not container:
        start_function_tracing(observer)
    return create(
        start=partial(start_tracing, settings, observer),
        probes=[] if backend is None else [backend.table],
        observer=observer,
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
        links=None if backend is None else LinkService(backend),
        submissions=None if backend is None else SubmissionService(backend),
        submission_files_bytes_max=file_max_bytes
        if container
        else min(file_max_bytes, LAMBDA_FILES_BYTES_MAX),
        response_bytes_max=None if container else LAMBDA_FILES_BYTES_MAX,
        upload_bytes_max=None if container else file_max_bytes,
        # A Lambda function has no trusted proxies, because the client address is the `sourceIp`
        # from API Gateway.
        addresses=ClientAddresses(
            settings.trusted_proxies if isinstance(settings, Settings) else ()
        ),
    )


Start = Callable[[AsyncExitStack], Awaitable[None]]


def create(
    *,
    start: Start | None = None,
    probes: Probes,
    observer: Observer,
    https: bool,
    scraped: bool = True,
    links: LinkService | None = None,
    submissions: SubmissionService | None = None,
    submission_files_bytes_max: int = LAMBDA_FILES_BYTES_MAX,
    response_bytes_max: int | None = None,
    upload_bytes_max: int | None = None,
    addresses: ClientAddresses | None = None,
) -> asgi.App:
    """Create the ASGI application.

    start: called when the server starts the application. The exit stack ends with the application.
    https: the public URL uses https, so HSTS and Secure cookies are sent.
    scraped: the application serves /metrics.
    links, submissions: services that open links and receive secrets. None if the table, the bucket
        or the key is not configured, in which case every link is unknown.
    submission_files_bytes_max: maximum total size of the files in the body of a submission.
    response_bytes_max: maximum size of an item in a response. Programs download larger items from
        S3. None: unlimited.
    upload_bytes_max: maximum total size of the files that a program uploads to S3 for a submission.
        None: uploads are disabled.
    addresses: determines the client address behind trusted proxies.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if start is not None:
                await start(stack)
            yield

    addresses, forms = addresses or ClientAddresses(()), FormProtection(https=https)
    recipients = Recipients(links, addresses, forms, response_bytes_max)
    submitters = Submitters(
        submissions, addresses, forms, submission_files_bytes_max, upload_bytes_max
    )
    return application(
        [
            LoggedRoute("/", recipients.start, methods=["GET", "POST"]),
            LoggedRoute("/s/{link}", recipients.link, methods=["GET", "POST"]),
            LoggedRoute("/s/{link}/items/{item:int}", recipients.download, methods=["POST"]),
            LoggedRoute("/s/{link}/acknowledge", recipients.acknowledge, methods=["POST"]),
            LoggedRoute("/r/{request}", submitters.page, methods=["GET", "POST"]),
            *api_routes(LINK_ENDPOINTS, recipients, BODY_BYTES_MAX),
            *api_routes(
                SUBMISSION_ENDPOINTS,
                submitters,
                BODY_BYTES_MAX if upload_bytes_max is None else UPLOADS_BYTES_MAX,
            ),
            LoggedRoute("/openapi.json", _openapi, methods=["GET"]),
            *(LoggedRoute(path, _static, methods=["GET"]) for path in STATIC),
            *operational_routes(probes, observer, scraped=scraped),
        ],
        {HTTPException: _http_error, GatehouseError: _error},
        lifespan,
        observer,
        https=https,
    )


@cache
def _document() -> bytes:
    return asgi.encode(document())


async def _openapi(request: Request) -> Response:
    return Response(_document(), media_type="application/json")


async def _static(request: Request) -> Response:
    media_type, content = STATIC[request.url.path]
    return Response(
        content, media_type=media_type, headers={"Cache-Control": "public, max-age=3600"}
    )


async def _error(request: Request, exc: Exception) -> Response:
    """Return a problem document to programs and a page to browsers."""
    assert isinstance(exc, GatehouseError)  # noqa: S101 - registered for this class
    response: Response = problem(request, exc)
    if not request.url.path.startswith("/v1/"):
        response = pages_of(request).message(_page_name(exc), exc.status)
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


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this class
    api = request.url.path.startswith("/v1/")
    if exc.status_code == 405:
        error: GatehouseError = MethodNotAllowed()
        response: Response = (
            pages_of(request).message("method", 405) if not api else await _error(request, error)
        )
        response.headers["Allow"] = (exc.headers or {})["Allow"]
        return response
    return await _error(request, NotFound("No endpoint has this path." if api else ""))
