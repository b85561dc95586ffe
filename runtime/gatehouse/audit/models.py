"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.

What checkpoints of the audit trail need from the outside world: a key that signs, a locked place, and the rows to cover.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class AuditEvent(msgspec.Struct, frozen=True):
    """One act, as it is written to the audit trail. `details` never holds a token, key or secret."""

    occurred_at: float
    actor_type: str  # bootstrap | key | system
    actor_id: str
    action: str  # key.create, key.revoke, core.register ...
    target_type: str  # key | core
    target_id: str
    outcome: str  # success | denied
    request_id: str
    source_address: str
    details: dict[str, str | int | float | bool | list[str] | None]


class AuditPage(msgspec.Struct, frozen=True):
    events: tuple[AuditRow, ...]
    next_before: int | None


class AuditRow(msgspec.Struct, frozen=True):
    seq: int
    event: AuditEvent
    previous_hash: bytes
    hash: bytes


class AuditFilter(msgspec.Struct, frozen=True):
    """Which rows are wanted; None: all. `action` may end in `*`, such as `key.*`. Times are Unix seconds, `until` is left out."""

    target_id: str | None = None
    action: str | None = None
    actor_id: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None


EVERY_ROW = AuditFilter()


class AuditTrail(Protocol):
    async def append(self, event: AuditEvent) -> None:
        """For acts that change no other row (a denied attempt)."""
        ...

    async def page(
        self,
        *,
        before: int | None,
        size: int,
        target_id: str | None = None,
        action: str | None = None,
        more: AuditFilter = EVERY_ROW,
    ) -> AuditPage:
        """Newest first. `more` narrows further than the two most used conditions."""
        ...

    async def following(self, after: int, size: int, wanted: AuditFilter) -> tuple[AuditRow, ...]:
        """Up to `size` rows behind row `after`, oldest first."""
        ...

    async def verify(self) -> tuple[int, int | None]:
        """(rows read, sequence number of the first row that breaks the chain or None)."""
        ...
