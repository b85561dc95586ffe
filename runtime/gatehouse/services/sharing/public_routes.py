"""Declares the endpoints with which programs open links and submit secrets, without an account."""

from __future__ import annotations

from functools import partial
from typing import Any

from gatehouse.features.sharing.link_schemas import OpenedItemDownload
from gatehouse.features.sharing.models import TEXT_BYTES_MAX
from gatehouse.features.sharing.requests.submission_schemas import CreateUpload, SubmittedSecret
from gatehouse.features.sharing.schemas import FILES_MAX
from gatehouse.platform.http import openapi
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.multipart import MEDIA_TYPE
from gatehouse.platform.http.openapi import Api
from gatehouse.platform.settings import FILES_BYTES_MAX
from gatehouse.services.sharing.recipients import Recipients
from gatehouse.services.sharing.submitted_form import FIELD_BYTES_MAX
from gatehouse.services.sharing.submitters import Submitters

API = Api(
    title="Gatehouse sharing service",
    description="Open secret links and submit secrets to secret requests, without an account. "
    "A link is sent only in the request"
    " body, so that the link secret never appears in a URL. Errors are problem documents (RFC "
    "9457).",
    security_schemes={},
    path_parameters={},
    errors={
        403: (
            "passphrase_required",
            "The link requires a passphrase, or the passphrase is wrong (code `wrong_passphrase`).",
        ),
        404: (
            "not_found",
            (
                "The link is unknown, expired, revoked or used up. These cases cannot be "
                "distinguished."
            ),
        ),
        409: (
            "conflict",
            (
                "The submission was already received, or another submission was received first. "
                "See `code`."
            ),
        ),
        408: ("request_timeout", "The files were not received in time."),
        429: (
            "rate_limited",
            "Too many denied or failed attempts, or too many submissions of files to the "
            "request at the same time. Retry after"
            " `Retry-After` seconds.",
        ),
    },
)

_link = partial(Endpoint, method="POST", tag="links", security=())
_request = partial(
    Endpoint, method="POST", tag="requests", security=(), errors=(404, 409, 429, 503)
)
_TEXT = {"type": "string", "maxLength": TEXT_BYTES_MAX}
_FIELD = {"type": "string", "maxLength": FIELD_BYTES_MAX}
_FILE = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
    "maxLength": FILES_BYTES_MAX,
}

LINK_ENDPOINTS = (
    _link(
        path="/v1/links/lookup",
        handler=Recipients.look_up_link,
        read_only=True,
        response_description="Information about the link.",
        errors=(404, 429, 503),
    ),
    _link(
        path="/v1/links/open",
        handler=Recipients.open_link,
        response_description="The content of the secret.",
        errors=(403, 404, 429, 503),
    ),
    _link(
        path="/v1/links/items",
        handler=Recipients.read_item,
        response=OpenedItemDownload,
        content={
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": "content",
            }
        },
        response_description="The content of the item, or JSON with a presigned request.",
        errors=(403, 404, 429, 503),
    ),
    _link(
        path="/v1/links/acknowledge",
        handler=Recipients.acknowledge_link,
        status=204,
        errors=(404, 429, 503),
    ),
)

SUBMISSION_ENDPOINTS = (
    _request(
        path="/v1/requests/submit",
        handler=Submitters.submit_secret,
        body_content={
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "link": _FIELD,
                        "submission": _FIELD,
                        "text": _TEXT,
                        "file": {"type": "array", "items": _FILE, "maxItems": FILES_MAX},
                    },
                    "required": ["link"],
                    "additionalProperties": False,
                },
                "example": {"link": CreateUpload.example["link"], "text": "example"},
            }
        },
        response=SubmittedSecret,
        response_description="The secret was received.",
        errors=(404, 408, 409, 429, 503),
    ),
    _request(
        path="/v1/requests/uploads",
        handler=Submitters.create_upload,
        response_description="The presigned request.",
    ),
    _request(
        path="/v1/requests/submit-uploads",
        handler=Submitters.submit_uploads,
        response_description="The secret was received.",
    ),
)


def document() -> dict[str, Any]:
    """The OpenAPI document of the sharing service."""
    return openapi.document(API, (*LINK_ENDPOINTS, *SUBMISSION_ENDPOINTS))
