"""Endpoints with which owners manage secret requests. Submitters use the sharing service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gatehouse.core.roles import (
    AUDITORS,
    OPERATORS,
    SECRET_CREATORS,
    SECRET_READERS,
    SECRET_REVOKERS,
    Role,
)
from gatehouse.features.sharing.requests.models import SecretRequest
from gatehouse.features.sharing.requests.schemas import (
    CreatedSecretRequest,
    CreateSecretRequest,
    SecretRequestPage,
    SecretRequestView,
    request_view,
)
from gatehouse.features.sharing.requests.service import RequestService
from gatehouse.features.sharing.routes import check_visible, page_of
from gatehouse.features.sharing.schemas import ListOwned
from gatehouse.features.sharing.service import SecretService
from gatehouse.platform.http.endpoint import Endpoint, StepUp
from gatehouse.platform.http.request import Request


async def create_secret_request(
    request: Request, body: CreateSecretRequest, requests: RequestService, sharing: SecretService
) -> CreatedSecretRequest:
    """Request a secret.

    The submission link is returned only in this response. Send the link to the person who has the
    secret. Only the retrieval links, which the client created, can open the submitted secrets.
    """
    # As for secrets, a repeated request with the same Idempotency-Key receives the stored response
    # with the submission link.
    created, token = await requests.create(body, request.authenticated.owner, request.actor)
    request.add_header(b"location", f"/v1/secret-requests/{created.id}")
    return CreatedSecretRequest(request_view(created, request.now), token.url(sharing.url))


async def list_secret_requests(
    request: Request, query: ListOwned, requests: RequestService
) -> SecretRequestPage:
    """List secret requests.

    Returns the secret requests of the caller, newest first. Some roles can also list the secret
    requests of another owner.
    """
    page, next_cursor = await page_of(
        request, query, "secret-requests", requests.repository.of_owner
    )
    return SecretRequestPage([request_view(item, request.now) for item in page], next_cursor)


async def show_secret_request(
    request: Request, secret_request: str, requests: RequestService
) -> SecretRequestView:
    """Retrieve a secret request.

    The response contains the IDs of the submitted secrets.
    """
    existing = await _existing(request, requests, secret_request, AUDITORS)
    return request_view(existing, request.now)


async def revoke_secret_request(
    request: Request, secret_request: str, requests: RequestService
) -> SecretRequestView:
    """Revoke a secret request.

    Submissions are denied by the time the response arrives. Secrets that were already submitted can
    still be opened. Idempotent.
    """
    await _existing(request, requests, secret_request, OPERATORS)
    return request_view(await requests.revoke(secret_request, request.actor), request.now)


async def _existing(
    request: Request, requests: RequestService, request_id: str, others: frozenset[Role]
) -> SecretRequest:
    """Return a secret request that the caller owns or, with a role in `others`, any secret request.
    Raises NotFound.
    """
    return check_visible(request, await requests.get(request_id), others, "secret request")


_endpoint: Callable[..., Endpoint] = partial(
    Endpoint, tag="secrets", step_up=StepUp.NEVER, errors=(404,)
)
_PATH = "/v1/secret-requests/{secret_request}"

ENDPOINTS = (
    _endpoint(
        method="POST",
        path="/v1/secret-requests",
        handler=create_secret_request,
        roles=SECRET_CREATORS,
        status=201,
    ),
    _endpoint(
        method="GET", path="/v1/secret-requests", handler=list_secret_requests, roles=SECRET_READERS
    ),
    _endpoint(method="GET", path=_PATH, handler=show_secret_request, roles=SECRET_READERS),
    _endpoint(
        method="POST", path=f"{_PATH}/revoke", handler=revoke_secret_request, roles=SECRET_REVOKERS
    ),
)
