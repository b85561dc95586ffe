"""Types of requests for a secret. Times are Unix seconds."""

from __future__ import annotations

from enum import StrEnum

import msgspec

SUBMISSIONS_MAX = 100
PURPOSE_CHARS_MAX = 500
#: Files of a submission in total, within the limit of the deployment. They are kept in memory until the submission is stored,
#: because its content is encrypted again if another submission takes its place.
SUBMISSION_FILES_BYTES_MAX = 10 * 1024 * 1024


class RequestState(StrEnum):
    """Stored states. An expired or used request is still `active` in storage: the clock and the number of submissions decide."""

    ACTIVE = "active"
    REVOKED = "revoked"


class RetrievalLink(msgspec.Struct, frozen=True):
    """What the server knows of a link that the client of the requester created: how to encrypt to it.

    path: public part of the link: secret id and link id.
    verifier, public_key: as in `sharing.models.Link`, derived from the link secret, which the requester keeps.
    """

    path: str
    verifier: bytes
    public_key: bytes


class Submission(msgspec.Struct, frozen=True):
    """A received submission. `secret`: id of the secret with its content."""

    secret: str
    at: float


class SecretRequest(msgspec.Struct, frozen=True):
    """A request for a secret: one item of the table. It contains no content.

    id: 22 base62 characters, the path of the submission link.
    owner: label of the actor that created it.
    requester: name of the requester that submitters see.
    purpose: what is requested, shown to submitters.
    label, note: shown to the owner only.
    lifetime_s: lifetime of the request, and of each secret from its submission.
    verifier: hash of the link secret of the submission link.
    retrieval_links: one for each submission that is accepted.
    submissions: by submission id, in the order of arrival.
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
    """True if the request accepts a submission."""
    return shown_state(request, now) == "active"


def shown_state(request: SecretRequest, now: float) -> str:
    """State for the owner: `active`, `used`, `revoked` or `expired`."""
    if request.state == RequestState.REVOKED:
        return "revoked"
    if len(request.submissions) >= len(request.retrieval_links):
        return "used"
    return "expired" if now >= request.expires_at else "active"
