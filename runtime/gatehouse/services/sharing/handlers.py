"""Shared parts of the pages and endpoints for recipients and submitters."""

from __future__ import annotations

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from gatehouse.core.errors import GatehouseError
from gatehouse.features.sharing.models import Client
from gatehouse.platform.http import asgi
from gatehouse.platform.http.request import Request
from gatehouse.services.sharing.pages import Pages
from gatehouse.services.sharing.texts import language


def client_of(request: Request) -> Client:
    return Client(request.source_address, request.request_id)


def pages_of(http: HttpRequest) -> Pages:
    """Return the pages in the language of the request."""
    return Pages(language(http.headers.get("accept-language", "")))


def with_error_headers(response: Response, error: GatehouseError) -> Response:
    """Add the headers that the status of an error requires."""
    response.raw_headers += asgi.problem_headers(error)
    return response
