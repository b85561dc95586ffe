"""Appends to the audit trail on an asyncpg connection, inside the transaction of the change that the event tells of."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from gatehouse.audit.chain import APPEND_LOCK, GENESIS, as_datetime, details_json, row_hash
from gatehouse.audit.models import AuditEvent

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"


async def append_event(connection: Connection, event: AuditEvent) -> int:
    """Writes the next row of the chain and returns its number. The caller holds a transaction and has made its change already.

    The lock makes appenders queue until the transaction ends, so numbers have no gaps and each row sees the one before it.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", APPEND_LOCK)
    last = await connection.fetchrow("SELECT seq, hash FROM audit_event ORDER BY seq DESC LIMIT 1")
    seq, previous = (1, GENESIS) if last is None else (last["seq"] + 1, last["hash"])
    await connection.execute(
        "INSERT INTO audit_event (seq, occurred_at, actor_type, actor_id, action, target_type, target_id, outcome, request_id,"
        " source_address, details, previous_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        seq,
        as_datetime(event.occurred_at),
        event.actor_type,
        event.actor_id,
        event.action,
        event.target_type,
        event.target_id,
        event.outcome,
        event.request_id,
        event.source_address,
        details_json(event),
        previous,
        row_hash(previous, seq, event),
    )
    return int(seq)
