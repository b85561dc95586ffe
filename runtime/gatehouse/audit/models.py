"""Types of the audit trail: events, rows of the chain, filters, and what the checkpoints of the chain need."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from gatehouse.audit.checkpoint import Checkpoint

Details = dict[str, str | int | float | bool | list[str] | None]

Outcome = Literal["success", "denied"]


class AuditEvent(msgspec.Struct, frozen=True):
    """One recorded act. The fields are the columns of the trail; the hash of a row covers them in this order.

    Adding or reordering fields changes the hash and needs another `chain.DOMAIN`.
    """

    occurred_at: float  # Unix seconds
    actor_type: str  # bootstrap, key, person or system
    actor_id: str
    action: str
    target_type: str  # key, core, session ...
    target_id: str
    outcome: str  # success or denied
    request_id: str
    source_address: str
    details: Details  # contains no token, key or secret


def system_event(
    actor_id: str,
    action: str,
    *,
    target_type: str,
    target_id: str,
    at: float,
    details: Details,
    source_address: str = "",
    outcome: Outcome = "success",
) -> AuditEvent:
    """An event without a request: a background job or a process acted. `at`: Unix seconds."""
    return AuditEvent(at, "system", actor_id, action, target_type, target_id, outcome, "", source_address, details)


class AuditRow(msgspec.Struct, frozen=True):
    """A row of the chain. Hashes are 32 bytes."""

    seq: int
    event: AuditEvent
    previous_hash: bytes
    hash: bytes


class AuditPage(msgspec.Struct, frozen=True):
    events: tuple[AuditRow, ...]
    next_before: int | None  # None on the last page


class AuditFilter(msgspec.Struct, frozen=True):
    """Conditions on events, joined by AND; None matches every event."""

    target_id: str | None = None
    action: str | None = None  # an action, or a prefix such as `key.*`
    actor_id: str | None = None
    outcome: str | None = None
    since: float | None = None  # Unix seconds, inclusive
    until: float | None = None  # Unix seconds, exclusive


ALL_EVENTS = AuditFilter()


class UncheckpointedRange(msgspec.Struct, frozen=True):
    """Rows after the last checkpoint."""

    rows: int
    last_seq: int
    last_hash: bytes
    broken: int | None  # sequence number of the first row that does not continue the chain


class Signer(Protocol):
    """A private key that cannot be exported: AWS KMS or a file. Methods raise Unavailable."""

    async def key_id(self) -> str: ...

    async def sign(self, message: bytes) -> bytes: ...

    async def public_key(self) -> bytes:
        """In PEM."""
        ...

    @property
    def algorithm(self) -> str: ...


class CheckpointArchive(Protocol):
    """Write-once storage outside the database: S3 with object lock, or a directory. Methods raise Unavailable."""

    async def put(self, checkpoint: Checkpoint) -> None:
        """Idempotent. A stored checkpoint is never overwritten."""
        ...

    async def all(self) -> tuple[Checkpoint, ...]:
        """In the order of the rows."""
        ...
