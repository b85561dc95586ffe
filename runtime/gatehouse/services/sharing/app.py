"""The sharing service: the pages and the API through which recipients open links, and the
operational endpoints.
"""

import asyncio
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatehouse.core.clock import Clock
from gatehouse.core.errors import CrossSite, GatehouseError, MethodNotAllowed, NotFound, Unavailable
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.features.operations.health import Reporter, dependencies
from gatehouse.features.secret_requests.service import RequestService
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.denials import TooManyDenied
from gatehouse.features.secrets.links import LinkService
from gatehouse.features.secrets.service import SecretService
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import PUBLISH_S, Settings, SharingSettings
from gatehouse.platform.tracing.tracer import Tracer
from gatehouse.platform.web import health, openapi, problems
from gatehouse.platform.web.application import Application, Handler, Routes, Start
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.form_protection import FormProtection
from gatehouse.platform.web.health import ServiceHealth
from gatehouse.platform.web.pipeline import Pipeline
from gatehouse.platform.web.request import Refused, Request
from gatehouse.platform.web.responses import Response
from gatehouse.platform.web.security_headers import security_headers
from gatehouse.services.sharing.link_form import BODY_BYTES_MAX
from gatehouse.services.sharing.pages import STATIC, Pages
from gatehouse.services.sharing.recipients import Recipients
from gatehouse.services.sharing.routes import ENDPOINTS, document
from gatehouse.services.sharing.submitters import Submitters
from gatehouse.services.sharing_reports import SharingReports
from gatehouse.services.tracing import server_attributes, start_tracing

if TYPE_CHECKING:
    from gatehouse.platform.envoy.bootstrap import Worker

_NO_PROXIES = ClientAddresses(())

#: Set by Lambda if the function has X-Ray tracing (Lambda Developer Guide, "Using Lambda
#: environment variables").
DAEMON_VARIABLE = "AWS_XRAY_DAEMON_ADDRESS"

#: Time in seconds in which a Lambda function responds. It ends after 10 s.
FUNCTION_S = 8.0


def run(worker: "Worker", settings: Settings) -> bool:
    """Runs the sharing service until SIGTERM. False if it does not start. Raises SettingsError."""
    from gatehouse.platform.worker import run_asgi  # a Lambda function has no workers

    return run_asgi(build(settings), worker)


def build(settings: SharingSettings) -> Application:
    """Build the sharing service: a Lambda function, except with the settings of a container."""
    backend = Backend.from_settings(settings, Clock())
    is_function = not isinstance(settings, Settings)
    observer = Observer(
        "sharing",
        settings.log_level,
        settings.environment,
        namespace=settings.metrics_namespace,
        publish_s=0.0 if is_function else PUBLISH_S,
    )
    if is_function and (address := os.environ.get(DAEMON_VARIABLE)):
        from gatehouse.services.sharing.lambda_tracing import Daemon  # imports OpenTelemetry

        daemon = Daemon(address, service=observer.service, environment=observer.environment)
        # Lambda decides which requests are sampled.
        observer.tracer = Tracer(daemon.add, server=server_attributes(settings.sharing_url))

    async def start(stack: AsyncExitStack) -> None:
        await start_tracing(settings, observer, stack)
        if backend is not None:
            with suppress(Unavailable):  # reported by /readyz; the first call compares
                await backend.table.confirm()
            if not is_function:  # a Lambda function runs only during requests
                uses = dependencies("sharing", settings, shares=True)
                reporter = Reporter("sharing", uses, health_of(backend))
                await reporter.start(SharingReports(backend), observer, stack)

    return create(
        start=start,
        observer=observer,
        https=settings.sharing_url.startswith("https://"),
        backend=backend,
        is_function=is_function,
        docs_url=settings.docs_url,
        # A Lambda function has no trusted proxies, because the client address is the `sourceIp`
        # from API Gateway.
        addresses=(
            ClientAddresses(settings.trusted_proxies, settings.outer_proxies)
            if isinstance(settings, Settings)
            else _NO_PROXIES
        ),
    )


class _FunctionRoutes(Routes):
    """The routes of a Lambda function, which respond before the function ends."""

    def add(self, path: str, handler: Handler, *methods: str) -> None:
        async def respond(request: Request) -> Any:
            running = asyncio.ensure_future(handler(request))
            await asyncio.wait({running}, timeout=FUNCTION_S)
            if not running.done():
                running.cancel()  # without waiting for its end
                raise Unavailable(detail=f"no response within {FUNCTION_S:g} s")
            return running.result()

        super().add(path, respond, *methods)


@dataclass(frozen=True, kw_only=True)
class _SharingPipeline(Pipeline):
    def error_response(self, request: Request, refused: Refused) -> Response:
        if request.raw_path.startswith(b"/v1/"):
            return super().error_response(request, refused)
        error, name = refused.error, _page_name(refused.error)
        headers = [*problems.problem_headers(error), *refused.headers]
        return Pages(request).message(f"{name}_title", name, error.status, headers)


def create(
    *,
    start: Start | None = None,
    observer: Observer,
    https: bool,
    is_function: bool = False,
    docs_url: str = "",
    backend: Backend | None = None,
    addresses: ClientAddresses = _NO_PROXIES,
) -> Application:
    """Create the ASGI application.

    start: see `Application`.
    https: the public URL uses https, so HSTS and Secure cookies are sent.
    is_function: the application is a Lambda function, which does not serve /metrics.
    docs_url: see `problem_type`.
    backend: None if the table, the bucket or the key is not configured, in which case no link
        exists.
    addresses: determines the client address behind trusted proxies.
    """
    services: dict[Any, object] = {ServiceHealth: health_of(backend)}
    metrics = () if is_function else (health.METRICS,)
    endpoints: Iterable[Endpoint] = (*health.ENDPOINTS, *metrics)
    if backend is not None:
        forms, links = FormProtection(https=https), LinkService(backend)
        submitters = Submitters(RequestService(backend, SecretService(backend, "")), forms)
        services |= {LinkService: links, Submitters: submitters}
        endpoints = (*endpoints, *ENDPOINTS)
    pipeline = _SharingPipeline(
        observer=observer,
        addresses=addresses,
        clock=Clock() if backend is None else backend.clock,
        docs_url=docs_url,
        headers=security_headers(https=https),
        services=services,
        body_max_bytes=BODY_BYTES_MAX,
    )
    routes = (_FunctionRoutes if is_function else Routes)(pipeline)
    if backend is not None:
        recipients = Recipients(links, forms)
        routes.add("/s/{link}", recipients.page)
        routes.add("/s/{link}", recipients.open, "POST")
        routes.add("/s/{link}/items/{item}", recipients.download, "POST")
        routes.add("/s/{link}/acknowledge", recipients.acknowledge, "POST")
        routes.add("/r/{request}", submitters.page)
        routes.add("/r/{request}", submitters.submit_page, "POST")
    pipeline.add(routes, endpoints)
    routes.add("/", _start)
    routes.add("/openapi.json", openapi.handler(document))
    for path in STATIC:
        routes.add(path, _static)
    return Application(observer, start, routes)


def health_of(backend: Backend | None) -> ServiceHealth:
    return ServiceHealth([] if backend is None else [backend.table])


async def _start(request: Request) -> Response:
    return Pages(request).message("service", "intro")


async def _static(request: Request) -> Response:
    media_type, content = STATIC[request.template]
    headers = [(b"cache-control", b"public, max-age=3600")]
    return request.response(200, content, content_type=media_type.encode(), headers=headers)


def _page_name(exc: GatehouseError) -> str:
    if isinstance(exc, CrossSite):
        return "cross_site"
    if isinstance(exc, MethodNotAllowed):
        return "method"
    if isinstance(exc, NotFound):
        return "not_found"
    if isinstance(exc, TooManyDenied):
        return "too_many_denied"
    if exc.status >= 500:
        return "unavailable"
    return "bad_form"
