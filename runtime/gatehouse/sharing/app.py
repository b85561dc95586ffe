"""The sharing service: its start page and operational endpoints. Secret links cannot be created yet."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gatehouse.http import asgi
from gatehouse.http.health import Probes
from gatehouse.http.starlette_apps import LoggedRoute, RequestContextMiddleware, operational_routes, page, style_route, unexpected
from gatehouse.observability import Observer
from gatehouse.settings import SharingSettings
from gatehouse.sharing.repository import SecretRepository

_PAGE = "<p>To open a secret that was shared with you, use the complete link.</p>"
_NOT_FOUND = "<p>This link does not exist, was used, or has expired. Request a new link from the sender.</p>"
_METHOD_NOT_ALLOWED = "<p>The method is not allowed for this page.</p>"


def build(settings: SharingSettings, *, scraped: bool = True) -> asgi.App:
    """Build the sharing service. `scraped`: it serves /metrics to a scraper in its network."""
    return create(
        probes=[SecretRepository(settings.secret_links_table)] if settings.secret_links_table else [],
        observer=Observer("sharing", settings.log_level, settings.environment),
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
    )


def create(*, probes: Probes, observer: Observer, https: bool, scraped: bool = True) -> ASGIApp:
    """ASGI application. `https`: the public URL uses https, so HSTS is sent. `scraped`: /metrics is served."""
    app = Starlette(
        routes=[
            LoggedRoute("/", _page, methods=["GET"]),
            style_route(),
            *operational_routes(probes, observer, scraped=scraped),
        ],
        exception_handlers={HTTPException: _http_error, Exception: unexpected},
    )
    app.router.redirect_slashes = False
    return RequestContextMiddleware(app, observer, https=https)


async def _page(request: Request) -> Response:
    return page("Gatehouse: shared secrets", _PAGE)


async def _http_error(request: Request, exc: Exception) -> Response:
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        response: Response = page("Method not allowed", _METHOD_NOT_ALLOWED, 405)
        response.headers["Allow"] = (exc.headers or {}).get("Allow", "GET, HEAD")
        return response
    return page("Page not found", _NOT_FOUND, 404)
