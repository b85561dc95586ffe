"""Endpoint with which owners request secrets. The sharing service receives the submissions."""

from gatehouse.core.roles import SECRET_CREATORS
from gatehouse.features.secret_requests.schemas import CreatedSecretRequest, CreateSecretRequest
from gatehouse.features.secret_requests.service import RequestService
from gatehouse.features.secrets.routes import view
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.request import Request


async def create_secret_request(
    request: Request, body: CreateSecretRequest, requests: RequestService
) -> CreatedSecretRequest:
    """Request a secret.

    The submission link is returned only in this response. Send the link to the person who has the
    secret. Only the retrieval link, which the client created, can open the submitted secret. Until
    the submission, the state of the secret is `requested`.
    """
    secret, token = await requests.create(body, request.authenticated.owner, request.actor)
    request.add_header(b"location", f"/v1/secrets/{secret.id}")
    return CreatedSecretRequest(view(request, secret), token.url(requests.url))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/secret-requests",
        create_secret_request,
        tag="secrets",
        step_up=StepUp.NEVER,
        roles=SECRET_CREATORS,
        status=201,
        errors=(404,),
    ),
)
