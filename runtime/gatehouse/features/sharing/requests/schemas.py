"""Request and response shapes with which owners manage secret requests.

No response contains content or a retrieval link.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.core.clock import rfc3339
from gatehouse.features.sharing.models import ID_CHARS, TTL_S_DEFAULT
from gatehouse.features.sharing.requests.models import (
    PURPOSE_CHARS_MAX,
    SUBMISSIONS_MAX,
    RetrievalLink,
    SecretRequest,
    shown_state,
)
from gatehouse.features.sharing.schemas import NAME_CHARS_MAX, Label, Note, Ttl
from gatehouse.platform.http.fields import (
    Instant,
    NextCursor,
    multi_line,
    single_line,
    view_of,
)
from gatehouse.platform.http.validation import checked

State = Literal["active", "used", "expired", "revoked"]


def _different_secrets(links: list[dict[str, Any]]) -> str:
    ids = {link["path"][:ID_CHARS] for link in links}
    return "" if len(ids) == len(links) else "must not contain two links with the same secret ID"


class CreateSecretRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a new secret request. `ttl_s`: also the lifetime of each submitted secret."""

    example: ClassVar = {
        "purpose": "Password of the staging database",
        "retrieval_links": [RetrievalLink.example],
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
    retrieval_links: Annotated[
        list[RetrievalLink],
        checked(
            _different_secrets,
            min_length=1,
            max_length=SUBMISSIONS_MAX,
            description=(
                "Links with which the requester opens the submitted secrets. One "
                "submission is accepted for each link."
            ),
        ),
    ]
    ttl_s: Ttl = TTL_S_DEFAULT
    requester: Annotated[
        str,
        checked(
            single_line,
            max_length=NAME_CHARS_MAX,
            description=(
                "Name of the requester, which submitters see. Default: the credential, "
                "such as `key:3fGh82kLmQ0a`."
            ),
        ),
    ] = ""
    label: Label = ""
    note: Note = ""


class SubmissionView(msgspec.Struct, frozen=True):
    """A received submission. `secret`: ID of the secret. The path of the retrieval link begins with
    this ID.
    """

    secret: str
    submitted_at: Instant


_REQUEST: dict[str, Any] = {
    "id": "2mKq8ZrT4vB6nX0sWc9yEd",
    "owner": "key:3fGh82kLmQ0a",
    "requester": "key:3fGh82kLmQ0a",
    "purpose": "Password of the staging database",
    "label": "",
    "note": "",
    "state": "active",
    "created_at": "2030-06-01T09:00:00Z",
    "expires_at": "2030-06-04T09:00:00Z",
    "ended_at": None,
    "submissions_max": 1,
    "submissions": [],
}


class SecretRequestView(msgspec.Struct, frozen=True, kw_only=True):
    """A secret request."""

    example: ClassVar = _REQUEST

    id: str
    owner: str
    requester: str
    purpose: str
    label: str
    note: str
    state: Annotated[
        State,
        Meta(
            description=(
                "`used`: all submissions were received. Only active requests accept submissions."
            )
        ),
    ]
    created_at: Instant
    expires_at: Instant
    ended_at: Annotated[Instant | None, Meta(description="Time of the revocation.")]
    submissions_max: int
    submissions: Annotated[
        list[SubmissionView], Meta(description="Received submissions, oldest first.")
    ]


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
    submissions = sorted(request.submissions.values(), key=lambda submission: submission.at)
    return view_of(
        SecretRequestView,
        request,
        state=shown_state(request, now),
        submissions_max=len(request.retrieval_links),
        submissions=[
            SubmissionView(submission.secret, rfc3339(submission.at)) for submission in submissions
        ],
    )
