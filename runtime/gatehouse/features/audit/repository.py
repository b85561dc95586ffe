"""Stores the audit trail and its checkpoints in PostgreSQL. This module is the only writer of the
chain, and also reads it.

The application's database role can insert and read rows, but cannot change or delete them.
"""

import asyncio
import json
from collections.abc import Sequence

import msgspec

from gatehouse.core.audit_chain import GENESIS, AuditRow, Checkpoint, first_break
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_seconds
from gatehouse.features.audit.schemas import SearchAudit
from gatehouse.platform.audit_log import COLUMNS, TEXT_COLUMNS, append
from gatehouse.platform.db.pool import Pool, Row
from gatehouse.platform.db.statements import Conditions, RowMapping, count

#: Number of rows that are read and hashed at a time.
BATCH_ROWS = 200
ALL_EVENTS = SearchAudit()
_SELECT = f"SELECT {COLUMNS} FROM audit_event"

_NAMES = (
    "SELECT id, name FROM api_key WHERE id = ANY ($1) AND name <> '' "
    "UNION ALL SELECT id, name FROM customer WHERE id = ANY ($1)"
)

_CHECKPOINT = RowMapping(Checkpoint)


class UncheckpointedRange(msgspec.Struct, frozen=True):
    """Rows after the last checkpoint. broken: sequence number of the first row that does not
    continue the chain.
    """

    rows: int
    last_seq: int
    last_hash: bytes
    broken: int | None


class AuditRepository:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def append(self, event: AuditEvent) -> int:
        """Append an event in a separate transaction and return the event's sequence number.

        For actions that change no other row, such as a denied request.
        """
        async with self._pool.transaction() as connection:
            return await append(connection, event)

    async def page(
        self, *, after: int | None, size: int, only: SearchAudit = ALL_EVENTS, oldest: bool = False
    ) -> tuple[list[AuditRow], int | None]:
        """Up to `size` rows after the sequence number `after`, the newest or the oldest first, and
        the last sequence number, or None on the last page."""
        where = _conditions(only)
        if after is not None:
            where.add("seq > {}" if oldest else "seq < {}", after)
        order = "seq" if oldest else "seq DESC"
        rows, last = await where.page(self._pool, _SELECT, order, size)
        return [_row(row) for row in rows], None if last is None else last["seq"]

    async def names(self, rows: Sequence[AuditRow]) -> dict[str, str]:
        """The present names of the keys and customers in the events, by ID."""
        ids = {id for row in rows for id in (row.event.actor_id, row.event.target_id)}
        return {row["id"]: row["name"] for row in await self._pool.fetch(_NAMES, list(ids))}

    async def count(self, only: SearchAudit, most: int) -> int:
        return await count(self._pool, "audit_event", _conditions(only), "seq", most)

    async def uncheckpointed(self, last: Checkpoint | None) -> UncheckpointedRange:
        """Read and verify all rows after checkpoint `last`, or all rows if `last` is None.

        The previous hash of the first row must match the hash in the checkpoint, so the check also
        detects a rewrite of rows that the checkpoint covers.
        """
        seq, previous = (1, GENESIS) if last is None else (last.seq + 1, last.hash)
        first = seq
        async with self._pool.transaction(readonly=True) as connection:
            cursor = await connection.cursor(f"{_SELECT} WHERE seq >= $1 ORDER BY seq", seq)
            while batch := [_row(row) for row in await cursor.fetch(BATCH_ROWS)]:
                # Run in a thread, because hashing the rows would block the event loop for several
                # milliseconds.
                broken = await asyncio.to_thread(first_break, batch, seq=seq, previous=previous)
                if broken is not None:
                    intact = [row.seq for row in batch].index(broken)
                    return UncheckpointedRange(seq - first + intact, seq - 1, previous, broken)
                seq, previous = batch[-1].seq + 1, batch[-1].hash
        return UncheckpointedRange(seq - first, seq - 1, previous, None)

    async def newest_seq(self) -> int:
        return int(await self._pool.fetchval("SELECT coalesce(max(seq), 0) FROM audit_event"))

    async def last_checkpoint(self) -> Checkpoint | None:
        return await _CHECKPOINT.first(self._pool, "audit_checkpoint ORDER BY seq DESC LIMIT 1")

    async def add_checkpoint(self, checkpoint: Checkpoint) -> bool:
        """Store a checkpoint. Returns False if another process has already stored a checkpoint for
        the same row.
        """
        statement = f"{_CHECKPOINT.insert('audit_checkpoint')} ON CONFLICT DO NOTHING"
        return await self._pool.execute(statement, *_CHECKPOINT.values(checkpoint)) == 1


def _conditions(only: SearchAudit) -> Conditions:
    where = Conditions()
    where.add_equal(
        target_id=only.target_id,
        actor_id=only.actor_id,
        outcome=only.outcome,
        request_id=only.request_id,
    )
    if only.action is not None and only.action.endswith("*"):
        where.add("starts_with(action, {})", only.action.removesuffix("*"))
    else:
        where.add_equal(action=only.action)
    where.add_range("occurred_at", *only.bounds)
    return where


def _row(row: Row) -> AuditRow:
    texts = {name: row[name] for name in TEXT_COLUMNS}
    event = AuditEvent(
        occurred_at=to_seconds(row["occurred_at"]), details=json.loads(row["details"]), **texts
    )
    return AuditRow(row["seq"], event, row["previous_hash"], row["hash"])
