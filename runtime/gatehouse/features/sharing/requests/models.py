"""Types of secret requests. Times are Unix seconds."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from gatehouse.features.sharing.encryption import KEY_BYTES, is_public_key
from gatehouse.features.sharing.link_token import PATH_CHARS
from gatehouse.features.sharing.models import ID_CHARS
from gatehouse.platform.http.validation import checked, matching

PURPOSE_CHARS_MAX = 500


def _public_key_problem(text: str) -> str:
    return "" if is_public_key(base64.b64decode(text)) else "must be an X25519 public key"


class RequestState(StrEnum):
    """Stored states. An expired or used secret request is still stored as `active`; `shown_state`
    returns the actual state.
    """

    ACTIVE = "active"
    REVOKED = "revoked"


class RetrievalLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The public values of a link that the client created. The server encrypts the submission to
    this link.

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
        bytes,
        Meta(
            min_length=KEY_BYTES,
            max_length=KEY_BYTES,
            description="Hash of the link secret, in base64.",
        ),
    ]
    public_key: Annotated[
        bytes,
        checked(
            _public_key_problem,
            min_length=KEY_BYTES,
            max_length=KEY_BYTES,
            description="X25519 public key to which the submission is encrypted, in base64.",
        ),
    ]


class Submission(msgspec.Struct, frozen=True):
    """A received submission. `id`: chosen by the client."""

    id: str
    at: float


class SecretRequest(msgspec.Struct, frozen=True):
    """A secret request, stored in one table item. The request contains no content.

    id: 22 base62 characters, which form the path of the submission link.
    owner: label of the actor that created the request.
    requester: name of the requester, which submitters see.
    purpose: description of the requested secret, shown to submitters.
    label: not shown to submitters.
    lifetime_s: lifetime of the request, and of the submitted secret from the time of its
        submission.
    verifier: hash of the link secret in the submission link.
    retrieval_link: link to the submitted secret.
    delete_at: time at which DynamoDB deletes the item.
    writes: see `Secret`.
    """

    id: str
    owner: str
    requester: str
    purpose: str
    label: str
    created_at: float
    expires_at: float
    lifetime_s: float
    verifier: bytes
    retrieval_link: RetrievalLink
    delete_at: int
    submission: Submission | None = None
    state: RequestState = RequestState.ACTIVE
    ended_at: float | None = None
    writes: int = 0

    @property
    def secret(self) -> str | None:
        """ID of the submitted secret."""
        return None if self.submission is None else self.retrieval_link.path[:ID_CHARS]

    @property
    def submitted_at(self) -> float | None:
        return None if self.submission is None else self.submission.at


def shown_state(request: SecretRequest, now: float) -> str:
    """Return the state that the owner sees: `active`, `used`, `revoked` or `expired`. Only active
    requests accept submissions.
    """
    if request.state == RequestState.REVOKED:
        return "revoked"
    if request.submission is not None:
        return "used"
    return "expired" if now >= request.expires_at else "active"
