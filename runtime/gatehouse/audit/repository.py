"""The audit trail in PostgreSQL: appends under one lock, so that the chain has neither gap nor fork; never changes a row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.audit.chain import APPEND_LOCK, GENESIS, as_datetime, as_seconds, first_break, row_hash
from gatehouse.audit.models import EVERY_ROW, AuditEvent, AuditFilter, AuditPage, AuditRow
from gatehouse.db.engine import connected, transaction
from gatehouse.db.tables import audit_event

#: Rows that `verify` reads and hashes at a time.
_VERIFY_ROWS = 1000


class PostgresAuditTrail:
    """`ports.AuditTrail` on the table `audit_event`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, event: AuditEvent) -> None:
        """Writes the event in a transaction of its own. Raises Unavailable."""
        async with transaction(self._engine) as connection:
            await append(connection, event)

    async def page(
        self,
        *,
        before: int | None,
        size: int,
        target_id: str | None = None,
        action: str | None = None,
        more: AuditFilter = EVERY_ROW,
    ) -> AuditPage:
        """Newest first, `size` rows from below `before`. Raises Unavailable."""
        wanted = [*_conditions(AuditFilter(target_id=target_id, action=action)), *_conditions(more)]
        query = select(audit_event).where(*wanted).order_by(audit_event.c.seq.desc()).limit(size + 1)
        if before is not None:
            query = query.where(audit_event.c.seq < before)
        async with connected(self._engine) as connection:
            rows = [_row(row) for row in await connection.execute(query)]
        further = len(rows) > size
        return AuditPage(events=tuple(rows[:size]), next_before=rows[size - 1].seq if further else None)

    async def following(self, after: int, size: int, wanted: AuditFilter) -> tuple[AuditRow, ...]:
        """Oldest first, `size` rows from behind `after`. Raises Unavailable."""
        query = select(audit_event).where(audit_event.c.seq > after, *_conditions(wanted)).order_by(audit_event.c.seq).limit(size)
        async with connected(self._engine) as connection:
            return tuple(_row(row) for row in await connection.execute(query))

    async def verify(self) -> tuple[int, int | None]:
        """(rows read, first row that breaks the chain or None); reads up to the first break. Raises Unavailable."""
        seq, previous = 1, GENESIS
        query = select(audit_event).order_by(audit_event.c.seq)
        async with connected(self._engine) as connection:
            result = await connection.stream(query.execution_options(yield_per=_VERIFY_ROWS))
            async for batch in result.partitions(_VERIFY_ROWS):
                rows = links(batch)
                # In a thread: a thousand hashes would hold up the event loop for several milliseconds.
                broken = await asyncio.to_thread(first_break, rows, seq=seq, previous=previous)
                if broken is not None:
                    return seq - 1 + [row[0] for row in rows].index(broken) + 1, broken
                seq, previous = rows[-1][0] + 1, rows[-1][3]
        return seq - 1, None


async def append(connection: AsyncConnection, event: AuditEvent) -> None:
    """Adds the event at the end of the chain, in the caller's transaction and after its other writes (see APPEND_LOCK)."""
    await connection.execute(select(func.pg_advisory_xact_lock(APPEND_LOCK)))
    newest = select(audit_event.c.seq, audit_event.c.hash).order_by(audit_event.c.seq.desc()).limit(1)
    last = (await connection.execute(newest)).one_or_none()
    seq, previous = (1, GENESIS) if last is None else (last.seq + 1, last.hash)
    await connection.execute(
        insert(audit_event).values(
            seq=seq,
            occurred_at=as_datetime(event.occurred_at),
            actor_type=event.actor_type,
            actor_id=event.actor_id,
            action=event.action,
            target_type=event.target_type,
            target_id=event.target_id,
            outcome=event.outcome,
            request_id=event.request_id,
            source_address=event.source_address,
            details=event.details,
            previous_hash=previous,
            hash=row_hash(previous, seq, event),
        )
    )


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    column, found = audit_event.c, list[ColumnElement[bool]]()
    for name, value in (("target_id", wanted.target_id), ("actor_id", wanted.actor_id), ("outcome", wanted.outcome)):
        if value is not None:
            found.append(column[name] == value)
    if wanted.action is not None:
        prefix = wanted.action.removesuffix("*")
        found.append(column.action.startswith(prefix, autoescape=True) if prefix != wanted.action else column.action == prefix)
    if wanted.since is not None:
        found.append(column.occurred_at >= as_datetime(wanted.since))
    if wanted.until is not None:
        found.append(column.occurred_at < as_datetime(wanted.until))
    return found


def links(rows: Iterable[Row[Any]]) -> list[tuple[int, AuditEvent, bytes, bytes]]:
    """Rows of the table as `auditchain.first_break` takes them."""
    return [(row.seq, row.event, row.previous_hash, row.hash) for row in map(_row, rows)]


def _row(row: Row[Any]) -> AuditRow:
    event = AuditEvent(
        occurred_at=as_seconds(row.occurred_at),
        actor_type=row.actor_type,
        actor_id=row.actor_id,
        action=row.action,
        target_type=row.target_type,
        target_id=row.target_id,
        outcome=row.outcome,
        request_id=row.request_id,
        source_address=row.source_address,
        details=row.details,
    )
    return AuditRow(seq=row.seq, event=event, previous_hash=bytes(row.previous_hash), hash=bytes(row.hash))
