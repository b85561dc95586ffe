"""Types of secret requests. Times are Unix seconds."""

from __future__ import annotations

from enum import StrEnum

import msgspec

SUBMISSIONS_MAX = 100
PURPOSE_CHARS_MAX = 500
#: Maximum total size of the files in a submission, within the limit of the deployment. Files are
#: kept in memory until the submission is stored, because the content is encrypted again if another
#: submission takes the same retrieval link.
SUBMISSION_FILES_BYTES_MAX = 10 * 1024 * 1024


class RequestState(StrEnum):
    """Stored states. An expired or used secret request is still stored as `active`; `shown_state`
    returns the actual state.
    """

    ACTIVE = "active"
    REVOKED = "revoked"


class RetrievalLink(msgspec.Struct, frozen=True):
    """The public values of a link that the requester's client created. The server encrypts a
    submission to this link.

    path: public part of the link, which consists of the secret ID and the link ID.
    verifier, public_key: as in `sharing.models.Link`. Derived from the link secret, which the
        requester keeps.
    """

    path: str
    verifier: bytes
    public_key: bytes


class Submission(msgspec.Struct, frozen=True):
    """A received submission. `secret`: ID of the secret that contains the submitted content."""

    secret: str
    at: float


class SecretRequest(msgspec.Struct, frozen=True):
    """A secret request, stored in one table item. The request contains no content.

    id: 22 base62 characters, which form the path of the submission link.
    owner: label of the actor that created the request.
    requester: name of the requester, which submitters see.
    purpose: description of the requested secret, shown to submitters.
    label, note: not shown to submitters.
    lifetime_s: lifetime of the request, and of each submitted secret from the time of its
        submission.
    verifier: hash of the link secret in the submission link.
    retrieval_links: one link for each accepted submission.
    submissions: submissions by submission ID, in no order.
    """

    id: str
    owner: str
    requester: str
    purpose: str
    label: str
    note: str
    created_at: float
    expires_at: float
    lifetime_s: float
    verifier: bytes
    retrieval_links: tuple[RetrievalLink, ...]
    submissions: dict[str, Submission] = {}
    state: RequestState = RequestState.ACTIVE
    ended_at: float | None = None


def is_open(request: SecretRequest, now: float) -> bool:
    """Return True if the request accepts a submission."""
    return shown_state(request, now) == "active"


def shown_state(request: SecretRequest, now: float) -> str:
    """Return the state that the owner sees: `active`, `used`, `revoked` or `expired`."""
    if request.state == RequestState.REVOKED:
        return "revoked"
    if len(request.submissions) >= len(request.retrieval_links):
        return "used"
    return "expired" if now >= request.expires_at else "active"
