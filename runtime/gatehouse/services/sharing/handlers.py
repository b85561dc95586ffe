"""Shared parts of the pages for recipients and submitters."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.errors import GatehouseError
from gatehouse.features.sharing.links import Client
from gatehouse.platform.http import asgi
from gatehouse.platform.http.starlette_apps import client_address
from gatehouse.services.sharing.pages import Pages
from gatehouse.services.sharing.texts import language


def client_of(request: Request, addresses: ClientAddresses) -> Client:
    """Return the client that sent the request, behind trusted proxies."""
    return Client(client_address(request, addresses), request.state.request_id)


def pages_of(request: Request) -> Pages:
    """Return the pages in the language of the request."""
    return Pages(language(request.headers.get("accept-language", "")))


def with_error_headers(response: Response, error: GatehouseError) -> Response:
    """Add the headers that the status of an error requires."""
    response.raw_headers += asgi.problem_headers(error)
    return response
