"""Writes the audit trail. This module is the only writer of the chain.

The application's database role can insert and read rows, but cannot change or delete them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gatehouse.core.audit_chain import GENESIS, details_json, row_hash
from gatehouse.core.audit_events import AuditEvent, Details
from gatehouse.core.clock import to_datetime
from gatehouse.core.token_scanner import redacted
from gatehouse.platform.db.pool import Connection
from gatehouse.platform.db.statements import placeholders

#: Advisory lock of the writer (pg_advisory_xact_lock). Acquired after the change trigger's lock
#: (7126501), never before it.
APPEND_LOCK = 7126502
TEXT_COLUMNS = AuditEvent.__struct_fields__[1:-1]  # between occurred_at and details
COLUMNS = ", ".join(("seq", *AuditEvent.__struct_fields__, "previous_hash", "hash"))
_INSERT = (
    f"INSERT INTO audit_event ({COLUMNS}) VALUES "
    f"({placeholders(len(AuditEvent.__struct_fields__) + 3)})"
)


async def append(connection: Connection, event: AuditEvent) -> int:
    """Append an event in the caller's transaction, after all other writes, and return the event's
    sequence number.

    Tokens in the event are redacted, because events cannot be changed later.

    The lock makes writers wait until the transaction ends, so sequence numbers have no gaps and
    each writer sees the last row.
    """
    event = _without_tokens(event)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", APPEND_LOCK)
    last = await connection.fetchrow("SELECT seq, hash FROM audit_event ORDER BY seq DESC LIMIT 1")
    seq, previous = (1, GENESIS) if last is None else (last["seq"] + 1, last["hash"])
    texts = [getattr(event, name) for name in TEXT_COLUMNS]
    digest = row_hash(previous, seq, event)
    await connection.execute(
        _INSERT, seq, to_datetime(event.occurred_at), *texts, details_json(event), previous, digest
    )
    return int(seq)


def _without_tokens(event: AuditEvent) -> AuditEvent:
    details: Details = {name: _redacted(value) for name, value in event.details.items()}
    return msgspec.structs.replace(event, target_id=redacted(event.target_id), details=details)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return (
        {name: _redacted(item) for name, item in value.items()}
        if isinstance(value, dict)
        else value
    )
