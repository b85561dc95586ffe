"""Request and response shapes with which owners manage secret requests.

No response contains content or a retrieval link.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatehouse.core.clock import rfc3339
from gatehouse.features.sharing.encryption import KEY_BYTES, is_public_key
from gatehouse.features.sharing.lifetime import ExpiresAt, Ttl, check_lifetime, lifetime
from gatehouse.features.sharing.link_token import PATH_CHARS
from gatehouse.features.sharing.models import ID_CHARS
from gatehouse.features.sharing.requests.models import (
    PURPOSE_CHARS_MAX,
    SUBMISSIONS_MAX,
    RetrievalLink,
    SecretRequest,
    shown_state,
)
from gatehouse.features.sharing.schemas import NAME_CHARS_MAX, Label, Note
from gatehouse.platform.http.fields import (
    PAGE_SIZE,
    Cursor,
    Instant,
    NextCursor,
    PageSize,
    multi_line,
    single_line,
    view_of,
)
from gatehouse.platform.http.validation import checked, matching

State = Literal["active", "used", "expired", "revoked"]
KEY_CHARS = 44  # 32 bytes in base64


def key_problem(text: str) -> str:
    try:
        valid = len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except ValueError:
        valid = False
    return "" if valid else "must be 32 bytes in standard base64 with padding"


def _public_key_problem(text: str) -> str:
    problem = key_problem(text)
    if not problem and not is_public_key(base64.b64decode(text)):
        problem = "must be an X25519 public key"
    return problem


def _different_secrets(links: list[dict[str, Any]]) -> str:
    ids = {link["path"][:ID_CHARS] for link in links}
    return "" if len(ids) == len(links) else "must not contain two links with the same secret ID"


_BASE64 = {"contentEncoding": "base64"}


class NewRetrievalLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The public values of a link that the client created. The link opens the secret from one
    submission.

    The client generates a random `path` and a random link secret, derives `verifier` and
    `public_key` from these values (see `link_keys` in docs/sharing-vectors.json), and keeps the
    link `https://<host>/s/<path>#<link secret>`.
    """

    example: ClassVar = {
        "path": "7YcQ1tRw0aB9xK2m5Hd3Zp4k9LmA",
        "verifier": "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=",
        "public_key": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
    }

    path: Annotated[
        str,
        matching(
            rf"[0-9A-Za-z]{{{PATH_CHARS}}}",
            max_length=PATH_CHARS,
            description=(
                "Public part of the link: a secret ID (22 characters) followed by a "
                "link ID (6 characters)."
            ),
        ),
    ]
    verifier: Annotated[
        str,
        checked(
            key_problem,
            max_length=KEY_CHARS,
            extra_json_schema=_BASE64,
            description="Hash of the link secret.",
        ),
    ]
    public_key: Annotated[
        str,
        checked(
            _public_key_problem,
            max_length=KEY_CHARS,
            extra_json_schema=_BASE64,
            description="X25519 public key to which the submission is encrypted.",
        ),
    ]

    def retrieval_link(self) -> RetrievalLink:
        return RetrievalLink(
            self.path, base64.b64decode(self.verifier), base64.b64decode(self.public_key)
        )


class CreateSecretRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of a new secret request. If both `ttl_s` and `expires_at` are omitted, the request
    expires after three days.
    """

    example: ClassVar = {
        "purpose": "Password of the staging database",
        "retrieval_links": [NewRetrievalLink.example],
    }

    purpose: Annotated[
        str,
        checked(
            multi_line,
            min_length=1,
            max_length=PURPOSE_CHARS_MAX,
            description="Description of the requested secret and the reason for the request. "
            "Shown to everyone who opens the"
            " request page.",
        ),
    ]
    retrieval_links: Annotated[
        list[NewRetrievalLink],
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
    ttl_s: Ttl | None = None
    expires_at: ExpiresAt = None
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

    def __post_init__(self) -> None:
        check_lifetime(self.ttl_s, self.expires_at)

    def lifetime_s(self, now: float) -> float:
        """Return the lifetime in seconds. Raises BadRequest if the expiry is out of bounds."""
        return lifetime(self.ttl_s, self.expires_at, now)


class ListSecretRequests(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Query parameters for a page of secret requests."""

    owner: Annotated[
        Annotated[str, checked(single_line, min_length=1, max_length=300)] | None,
        Meta(
            description="Owner, such as `key:3fGh82kLmQ0a`. Default: the caller. Another owner "
            "requires the role owner, operator"
            " or auditor."
        ),
    ] = None
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE


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
