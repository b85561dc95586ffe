"""Shared parts of the pages and endpoints for recipients and submitters."""

from __future__ import annotations

from starlette.responses import Response

from gatehouse.core.errors import GatehouseError
from gatehouse.features.sharing.models import Client
from gatehouse.platform.http import asgi
from gatehouse.platform.http.request import Request


def client_of(request: Request) -> Client:
    return Client(request.source_address, request.request_id)


def with_error_headers(response: Response, error: GatehouseError) -> Response:
    """Add the headers that the status of an error requires."""
    response.raw_headers += asgi.problem_headers(error)
    return response
