"""Filters of the audit trail, and its end without a checkpoint."""

from __future__ import annotations

import msgspec


class AuditFilter(msgspec.Struct, frozen=True):
    """Conditions on events, combined with AND. A condition of None matches every event."""

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
