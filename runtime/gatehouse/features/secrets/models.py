"""Types of secrets and links. Times are Unix seconds."""

from enum import StrEnum
from typing import Any, Literal, Self

import msgspec

from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.http.addresses import network_of

TTL_S_DEFAULT = 72 * 3600
TTL_S_MIN = 300
TTL_S_MAX = 30 * 86_400
USES_DEFAULT = 1
USES_MAX = 100
RECIPIENTS_MAX = 10
#: Maximum number of versions of a secret that are stored, and that are created in all, whose
#: objects are deleted in a few calls when the secret ends.
VERSIONS_MAX, CREATED_VERSIONS_MAX = 10, 100
TEXT_BYTES_MAX = 64 * 1024
#: Maximum total size of the files in a secret. The content of a secret is one request and one
#: response. As a Lambda function, the sharing service can receive and return at most 6 MB,
#: including the base64 encoding of files. Source: Lambda Developer Guide, "Lambda quotas".
FILES_BYTES_MAX = 4_000_000
PASSPHRASE_CHARS_MIN = 8
PASSPHRASE_CHARS_MAX = 128
#: Time in seconds during which a client can repeat a claim that is not acknowledged, for example
#: after a lost response or to download files.
CLAIM_S = 600.0
#: Time in seconds from the deletion of the content to the deletion of the receipt.
RECEIPT_S = 30 * 86_400
ID_CHARS = 22
LINK_CHARS = 6


def base64_chars(size: int) -> int:
    return 4 * -(-size // 3)


#: Maximum size of the content of a secret in JSON: files in base64, and text with up to 6
#: characters per byte (`\\u001f`).
CONTENT_JSON_BYTES_MAX = base64_chars(FILES_BYTES_MAX) + 6 * TEXT_BYTES_MAX


class SecretState(StrEnum):
    """Stored states. The stored state of an expired secret is still `active` or `requested`; expiry
    is determined by the current time.
    """

    REQUESTED = "requested"  # has no content until somebody submits it
    ACTIVE = "active"
    ENDED = "ended"  # the links no longer work; the content is being deleted
    PURGED = "purged"


class EndReason(StrEnum):
    REVOKED = "revoked"
    EXPIRED = "expired"
    USED = "used"  # no link has uses left


class LinkState(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"


class ContentItem(msgspec.Struct, frozen=True):
    """An encrypted text or file in a version.

    key, object_version: key and version ID of the object in the bucket.
    size: size of the plaintext in bytes.
    """

    key: str
    object_version: str
    size: int


class ManifestItem(msgspec.Struct, frozen=True):
    """Name and media type of a text item (with an empty `name`) or a file."""

    name: str
    media_type: str


class Version(msgspec.Struct, frozen=True):
    """A version of a secret's content, encrypted under one content key.

    data_key: the data key, encrypted by KMS.
    manifest: a JSON list of ManifestItem, encrypted under the content key.
    """

    number: int
    created_at: float
    data_key: bytes
    manifest: bytes
    items: tuple[ContentItem, ...]


class Claim(msgspec.Struct, frozen=True):
    """A use of a link. `acknowledged_at`: time at which the client confirmed that it received the
    content.
    """

    at: float
    acknowledged_at: float | None = None


class Link(msgspec.Struct, frozen=True):
    """A link to a secret.

    id: 6 base62 characters, unique within the secret.
    recipient: name of the recipient, which the owner sees; empty for a link that is not personal.
    verifier: hash of the link secret.
    public_key: X25519 key to which content keys are encrypted. The private key is derived from link
        secret and passphrase.
    salt: salt of the passphrase; empty if the link has no passphrase.
    wrapped_keys: content keys by version, encrypted to `public_key` and under the KMS data key.
        Erased when the link is revoked, when all of its uses are acknowledged, and when the secret
        is no longer active.
    claims: claims by claim ID.
    """

    id: str
    verifier: bytes
    public_key: bytes
    uses_max: int
    recipient: str = ""
    salt: bytes = b""
    wrapped_keys: dict[str, bytes] = {}
    uses: int = 0
    state: LinkState = LinkState.ACTIVE
    claims: dict[str, Claim] = {}

    @property
    def opened_at(self) -> float | None:
        return min((claim.at for claim in self.claims.values()), default=None)


class SecretRequest(msgspec.Struct, frozen=True):
    """The request with which the owner asked for a secret.

    purpose: description of the requested secret, shown to submitters.
    lifetime_s: lifetime of the secret from the time of its submission.
    verifier: hash of the link secret in the submission link.
    submission: ID of the received submission, chosen by the client; empty if there is none.
    """

    purpose: str
    lifetime_s: float
    verifier: bytes
    submission: str = ""


class Secret(msgspec.Struct, frozen=True):
    """A secret and its links, stored in one table item. A single conditional update therefore
    decides every use.

    id: 22 base62 characters.
    owner: label of the actor that created the secret, such as `key:3fGh82kLmQ0a`.
    sender: name of the sender, which recipients see, or of the requester, which submitters see.
    label: not shown to recipients.
    expires_at: time at which the links stop working, and from which the content is deleted.
    expires_at_max: latest time to which `expires_at` can be extended. Part of the encryption
        context.
    revision: incremented when the owner changes the secret, or when the state of the secret or of a
        link changes.
    writes: number of changes of the item. A change is stored only if nobody else has changed the
        item since it was read.
    versions: versions of the content, with the current version first. Empty before the submission
        and after the purge.
    links: links by ID, in the order of the recipients.
    next_version: number of the next version.
    end_to_end: the client encrypted the content; the server cannot read it.
    request: None for a secret that was not requested.
    receipt: fields of `schemas.Deletion` after the purge.
    delete_at: time at which DynamoDB deletes the item.
    """

    id: str
    owner: str
    sender: str
    label: str
    created_at: float
    expires_at: float
    expires_at_max: float
    state: SecretState
    revision: int
    versions: tuple[Version, ...]
    next_version: int
    links: dict[str, Link]
    end_to_end: bool = False
    request: SecretRequest | None = None
    ended_at: float | None = None
    end_reason: EndReason | None = None
    purged_at: float | None = None
    receipt: dict[str, str] | None = None
    delete_at: int | None = None
    writes: int = 0

    @property
    def current(self) -> Version:
        return self.versions[0]

    @property
    def sender_verified(self) -> bool:
        """The sender is the identity with which a person signed in at the identity provider. Every
        other name is text that anyone with an API key can choose.
        """
        return self.sender == self.owner and self.owner.startswith("person:")

    def with_link(self, link: Link, **fields: Any) -> Self:
        """Return the secret with a changed link, and with other values of these fields."""
        return msgspec.structs.replace(self, links={**self.links, link.id: link}, **fields)


def ended(secret: Secret, reason: EndReason, at: float) -> Secret:
    """Return an active or requested secret after its end: the links no longer work and have no
    keys. Returns any other secret unchanged.
    """
    if is_final(secret):
        return secret
    return msgspec.structs.replace(
        secret,
        state=SecretState.ENDED,
        ended_at=at,
        end_reason=reason,
        revision=secret.revision + 1,
        links={
            link.id: msgspec.structs.replace(link, wrapped_keys={})
            for link in secret.links.values()
        },
    )


def is_final(secret: Secret) -> bool:
    return secret.state in (SecretState.ENDED, SecretState.PURGED)


def is_expired(secret: Secret, now: float) -> bool:
    return now >= secret.expires_at


def is_used(secret: Secret) -> bool:
    """Return True if no link has uses left."""
    return all(
        link.state != LinkState.ACTIVE or link.uses >= link.uses_max
        for link in secret.links.values()
    )


def shown_state(secret: Secret, now: float) -> str:
    """Return the state that the owner sees: `requested`, `active`, `expired`, `used`, `revoked` or
    `purged`.
    """
    if secret.state == SecretState.PURGED:
        return "purged"
    if secret.end_reason is not None:
        return secret.end_reason.value
    if is_expired(secret, now):
        return "expired"
    if secret.state == SecretState.REQUESTED:
        return "requested"
    if all(link.state != LinkState.ACTIVE for link in secret.links.values()):
        return "revoked"
    return "used" if is_used(secret) else "active"


class Client(msgspec.Struct, frozen=True):
    """The client that opens a link or submits a secret, without an account."""

    address: str
    request_id: RequestId

    @property
    def network(self) -> str:
        return network_of(self.address, v4=24, v6=48)

    def actor(self, kind: Literal["recipient", "submitter"], identifier: str) -> Actor:
        """`identifier`: ID of the link or of the requested secret."""
        return Actor(kind, identifier, self.request_id, self.address)


class SharingEvent(msgspec.Struct, frozen=True):
    """An audit event, stored with the change until it is recorded in the audit trail. `id`: 22
    base62 characters.
    """

    id: str
    audit_event: AuditEvent

    @property
    def at(self) -> float:
        return self.audit_event.occurred_at
