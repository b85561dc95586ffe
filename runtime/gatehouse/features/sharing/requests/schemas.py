"""Request and response shapes with which owners manage secret requests.

No response contains content or a retrieval link.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.features.sharing.models import TTL_S_DEFAULT
from gatehouse.features.sharing.requests.models import (
    PURPOSE_CHARS_MAX,
    RetrievalLink,
    SecretRequest,
    shown_state,
)
from gatehouse.features.sharing.schemas import Label, Sender, Ttl
from gatehouse.platform.http.fields import (
    Instant,
    NextCursor,
    multi_line,
    view_of,
)
from gatehouse.platform.http.validation import checked

State = Literal["active", "used", "expired", "revoked"]


class CreateSecretRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a new secret request. `ttl_s`: also the lifetime of the submitted secret."""

    example: ClassVar = {
        "purpose": "Password of the staging database",
        "retrieval_link": RetrievalLink.example,
    }

    purpose: Annotated[
        str,
        checked(
            multi_line,
            min_length=1,
            max_length=PURPOSE_CHARS_MAX,
            description="Description of the requested secret and the reason for the request. Shown "
            "to everyone who opens the request page.",
        ),
    ]
    retrieval_link: RetrievalLink
    ttl_s: Ttl = TTL_S_DEFAULT
    requester: Sender = ""
    label: Label = ""


_REQUEST: dict[str, Any] = {
    "id": "2mKq8ZrT4vB6nX0sWc9yEd",
    "owner": "key:3fGh82kLmQ0a",
    "requester": "key:3fGh82kLmQ0a",
    "purpose": "Password of the staging database",
    "label": "",
    "state": "active",
    "created_at": "2030-06-01T09:00:00Z",
    "expires_at": "2030-06-04T09:00:00Z",
    "ended_at": None,
    "secret": None,
    "submitted_at": None,
}


class SecretRequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A secret request."""

    example: ClassVar = _REQUEST

    id: str
    owner: str
    requester: str
    purpose: str
    label: str
    state: Annotated[
        State,
        Meta(
            description=(
                "`used`: a secret was submitted. Only active requests accept a submission."
            )
        ),
    ]
    created_at: Instant
    expires_at: Instant
    ended_at: Annotated[Instant | None, Meta(description="Time of the revocation.")]
    secret: Annotated[
        str | None,
        Meta(
            description="ID of the submitted secret. The path of the retrieval link begins with "
            "this ID."
        ),
    ]
    submitted_at: Instant | None


class SecretRequestPage(msgspec.Struct, frozen=True):
    """A page of secret requests, newest first."""

    example: ClassVar[dict[str, Any]] = {"requests": [_REQUEST], "next_cursor": None}

    requests: list[SecretRequestView]
    next_cursor: NextCursor


class CreatedSecretRequest(msgspec.Struct, frozen=True):
    """A new secret request and its submission link. Only this response contains the link."""

    example: ClassVar[dict[str, Any]] = {
        "request": _REQUEST,
        "submission_link": "https://sharing.example.com/r/2mKq8ZrT4vB6nX0sWc9yEd#" + 43 * "x",
    }

    request: SecretRequestView
    submission_link: Annotated[
        str,
        Meta(
            description=(
                "Link with which anyone can submit a secret. The link cannot be used "
                "to read a secret."
            )
        ),
    ]

    def __repr__(self) -> str:
        return f"CreatedSecretRequest({self.request.id})"


def request_view(request: SecretRequest, now: float) -> SecretRequestView:
    return view_of(SecretRequestView, request, state=shown_state(request, now))
