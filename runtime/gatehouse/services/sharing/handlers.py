"""Shared parts of the pages and endpoints for recipients and submitters."""

from __future__ import annotations

from gatehouse.features.sharing.models import Client
from gatehouse.platform.http.request import Request


def client_of(request: Request) -> Client:
    return Client(request.client, request.request_id)
