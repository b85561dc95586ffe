"""Endpoints with which programs open links and submit secrets, without an account."""

import secrets
from functools import partial
from typing import Any

from gatehouse.features.secret_requests.schemas import CreatedSecretRequest, SubmittedSecret
from gatehouse.features.secrets.link_token import INCOMPLETE, LinkToken, parse
from gatehouse.features.secrets.links import LinkService, Opened, OpenedItem, claim_id_of
from gatehouse.features.secrets.models import FILES_BYTES_MAX, TEXT_BYTES_MAX
from gatehouse.features.secrets.schemas import (
    FILES_MAX,
    AcknowledgeLink,
    LinkPreview,
    LookUpLink,
    OpenedItemView,
    OpenedSecret,
    OpenLink,
    link_preview,
)
from gatehouse.platform.web import openapi
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.openapi import Api
from gatehouse.platform.web.request import AsgiRequest, Request
from gatehouse.platform.web.validation import invalid
from gatehouse.services.sharing.recipients import client_of
from gatehouse.services.sharing.submitted_form import FIELD_CHARS_MAX, FORM_TYPE
from gatehouse.services.sharing.submitters import Submitters

API = Api(
    title="Gatehouse sharing service",
    description="Open secret links and submit secrets to secret requests, without an account. A "
    "link is sent only in the request body, so that the link secret never appears in a URL. Errors "
    "are problem documents (RFC 9457).",
    security_schemes={},
    tags={
        "links": "Links with which recipients open secrets.",
        "requests": "Secrets that others submit to a secret request.",
    },
    path_parameters={},
    errors={
        403: (
            "passphrase_required",
            "The link requires a passphrase, or the passphrase is wrong (code `wrong_passphrase`).",
        ),
        404: (
            "link_not_found",
            (
                "The link is unknown, expired, revoked or used up. These cases cannot be "
                "distinguished."
            ),
        ),
        429: (
            "too_many_denied",
            "Too many denied attempts from this network, wrong passphrases (code "
            "`too_many_attempts`) or submissions in progress (`too_many_requests`). Retry after "
            "`Retry-After` seconds.",
        ),
    },
)


async def look_up_link(request: Request, body: LookUpLink, links: LinkService) -> LinkPreview:
    """Look up a link.

    Returns information about a link without consuming a use.
    """
    secret, link = await links.look_up(_token(body), client_of(request))
    return link_preview(secret, link)


async def open_link(request: Request, body: OpenLink, links: LinkService) -> OpenedSecret:
    """Open a link.

    Consumes one use and returns the content.
    """
    token, claim = _token(body), body.claim or secrets.token_hex(16)
    claim_id = claim_id_of(claim, token.path)
    opened = await links.open(token, body.passphrase, claim_id, client_of(request))
    contents = await links.read(opened, *opened.items)
    items = [_item_view(opened, *item) for item in zip(opened.items, contents, strict=True)]
    return OpenedSecret(claim=claim, end_to_end=opened.secret.end_to_end, items=items)


async def acknowledge_link(request: Request, body: AcknowledgeLink, links: LinkService) -> None:
    """Acknowledge the content.

    Confirms that the client received the content. The content is deleted as soon as the link has no
    uses left and every recipient has confirmed. Idempotent.
    """
    token = _token(body)
    await links.acknowledge(token, claim_id_of(body.claim, token.path), client_of(request))


async def submit_secret(request: AsgiRequest, submitters: Submitters) -> SubmittedSecret:
    """Submit a secret.

    Submits text, files or both to a secret request, as a form (multipart/form-data). Send the
    fields `submission` and `link` first: the link is checked before more is received.
    """
    return SubmittedSecret(await submitters.submit(request))


def _item_view(opened: Opened, item: OpenedItem, content: bytes) -> OpenedItemView:
    is_text = not item.name and not opened.secret.end_to_end
    return OpenedItemView(
        name=item.name,
        media_type=item.media_type,
        size=item.size,
        text=content.decode("utf-8", "replace") if is_text else None,
        content_base64=None if is_text else content,
    )


def _token(body: LookUpLink) -> LinkToken:
    """Return the link in a JSON body. Raises BadRequest if the link is incomplete."""
    token = parse(body.link)
    if token is None:
        raise invalid(*INCOMPLETE)
    return token


_link = partial(Endpoint, "POST", tag="links", security=())
_FIELD = {"type": "string", "maxLength": FIELD_CHARS_MAX}
_FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "properties": {
            "link": _FIELD,
            "submission": _FIELD,
            "text": {"type": "string", "maxLength": TEXT_BYTES_MAX},
            "file": {
                "type": "array",
                "items": {
                    "type": "string",
                    "contentMediaType": "application/octet-stream",
                    "maxLength": FILES_BYTES_MAX,
                },
                "maxItems": FILES_MAX,
            },
        },
        "required": ["link"],
        "additionalProperties": False,
    },
    "example": {"link": CreatedSecretRequest.example["submission_link"], "text": "example"},
}

ENDPOINTS = (
    _link(
        "/v1/links/lookup",
        look_up_link,
        read_only=True,
        response_description="Information about the link.",
        errors=(404, 429, 503),
    ),
    _link(
        "/v1/links/open",
        open_link,
        response_description="The content of the secret.",
        errors=(403, 404, 429, 503),
    ),
    _link("/v1/links/acknowledge", acknowledge_link, status=204, errors=(404, 429, 503)),
    _link(
        "/v1/requests/submit",
        submit_secret,
        tag="requests",
        body_content={FORM_TYPE: _FORM},
        response_description="The secret was received.",
        errors=(404, 429, 503),
    ),
)


def document() -> dict[str, Any]:
    return openapi.document(API, ENDPOINTS)
