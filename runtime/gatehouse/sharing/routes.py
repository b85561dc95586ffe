"""The share door as it stands: its page, its health and its edge. No link can be made yet, so every other address is unknown."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gatehouse.http import operational_routes
from gatehouse.http.middleware import Address, RequestContextMiddleware, unexpected
from gatehouse.http.models import Probes
from gatehouse.http.pages import page, style_route
from gatehouse.observability import Observer

_PAGE = "<p>Secrets that somebody hands to you open at this door. Its address alone opens nothing: use the whole link.</p>"
_UNKNOWN = "<p>There is nothing at this address. A link works once and for a limited time; ask its sender for a new one.</p>"
_METHOD = "<p>This address cannot be used in that way.</p>"


def create(*, probes: Probes, observer: Observer, https: bool, scraped: bool = True) -> ASGIApp:
    """The ASGI application. `https`: the door's public address is https (HSTS is sent then). `scraped`: it has /metrics."""
    app = Starlette(
        routes=[
            Address("/", _page, methods=["GET"]),
            style_route(),
            *operational_routes.routes(probes, observer, scraped=scraped),
        ],
        exception_handlers={HTTPException: _refused, Exception: unexpected},
    )
    app.router.redirect_slashes = False
    return RequestContextMiddleware(app, observer, https=https)


async def _page(request: Request) -> Response:
    return page("Gatehouse: a door for secrets", _PAGE)


async def _refused(request: Request, exc: Exception) -> Response:
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        response: Response = page("Not in this way", _METHOD, 405)
        response.headers["Allow"] = (exc.headers or {}).get("Allow", "GET, HEAD")
        return response
    return page("Nothing here", _UNKNOWN, 404)
