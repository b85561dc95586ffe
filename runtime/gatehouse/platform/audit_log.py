"""Writes the audit trail.

The application's database role can insert and read rows, but cannot change or delete them. A
trigger assigns the sequence number and the hashes, so no process can break the chain.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from gatehouse.core.audit_events import AuditEvent, Details
from gatehouse.core.clock import to_datetime
from gatehouse.core.tokens.token_scanner import redacted
from gatehouse.platform.db.pool import Connection
from gatehouse.platform.db.statements import placeholders

TEXT_COLUMNS = AuditEvent.__struct_fields__[1:-1]  # between occurred_at and details
COLUMNS = ", ".join(("seq", *AuditEvent.__struct_fields__, "previous_hash", "hash"))
_INSERT = (
    f"INSERT INTO audit_event ({', '.join(AuditEvent.__struct_fields__)}) VALUES "
    f"({placeholders(len(AuditEvent.__struct_fields__))}) RETURNING seq"
)


async def append(connection: Connection, event: AuditEvent) -> int:
    """Append an event in the caller's transaction, after all other writes, and return the event's
    sequence number.

    Tokens in the event are redacted, because events cannot be changed later.

    The trigger's lock (7126502) is acquired after the change trigger's lock (7126501), never before
    it. Other writers wait until the transaction ends.
    """
    return int(await connection.fetchval(_INSERT, *_row(event)))


async def append_all(connection: Connection, events: Iterable[AuditEvent]) -> None:
    """Like `append`, for many events at once, so that other writers wait a short time."""
    await connection.executemany(_INSERT, [_row(event) for event in events])


def _row(event: AuditEvent) -> tuple[Any, ...]:
    details: Details = {name: _redacted(value) for name, value in event.details.items()}
    event = msgspec.structs.replace(event, target_id=redacted(event.target_id), details=details)
    texts = [getattr(event, name) for name in TEXT_COLUMNS]
    return to_datetime(event.occurred_at), *texts, event.details_json


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
