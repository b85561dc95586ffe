"""Checkpoints of the audit trail in PostgreSQL, and the rows between them; the application may add one and change none."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, MetaData, Row, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import GENESIS, as_datetime, as_seconds, first_break
from gatehouse.audit.checkpoint import Checkpoint
from gatehouse.audit.checkpoint_ports import UncheckpointedRange
from gatehouse.audit.repository import links
from gatehouse.db.engine import connected, transaction
from gatehouse.db.tables import audit_event

_ROWS = 1000


_checkpoint = Table(
    "audit_checkpoint",
    MetaData(),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary),
    Column("taken_at", DateTime(timezone=True)),
    Column("key_id", Text),
    Column("algorithm", Text),
    Column("signature", LargeBinary),
)


class PostgresCheckpoints:
    """`ports_checkpoint.Checkpoints` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def last(self) -> Checkpoint | None:
        query = select(_checkpoint).order_by(_checkpoint.c.seq.desc()).limit(1)
        async with connected(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _read(row)

    async def newest_seq(self) -> int:
        async with connected(self._engine) as connection:
            return (await connection.execute(select(func.max(audit_event.c.seq)))).scalar() or 0

    async def stretch(self, after: Checkpoint | None) -> UncheckpointedRange:
        """The first row must continue the checkpointed one: rows that were written anew before it are found by their hashes."""
        seq, previous = (1, GENESIS) if after is None else (after.seq + 1, after.hash)
        begin, query = seq, select(audit_event).where(audit_event.c.seq >= seq).order_by(audit_event.c.seq)
        async with connected(self._engine) as connection:
            result = await connection.stream(query.execution_options(yield_per=_ROWS))
            async for batch in result.partitions(_ROWS):
                rows = links(batch)
                broken = await asyncio.to_thread(first_break, rows, seq=seq, previous=previous)
                if broken is not None:
                    return UncheckpointedRange(seq - begin, seq - 1, previous, broken)
                seq, previous = rows[-1][0] + 1, rows[-1][3]
        return UncheckpointedRange(seq - begin, seq - 1, previous, None)

    async def add(self, checkpoint: Checkpoint) -> bool:
        values = {
            "seq": checkpoint.seq,
            "hash": checkpoint.hash,
            "taken_at": as_datetime(checkpoint.taken_at),
            "key_id": checkpoint.key_id,
            "algorithm": checkpoint.algorithm,
            "signature": checkpoint.signature,
        }
        statement = insert(_checkpoint).values(values).on_conflict_do_nothing().returning(_checkpoint.c.seq)
        async with transaction(self._engine) as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def page(self, *, after: int, size: int) -> tuple[Checkpoint, ...]:
        query = select(_checkpoint).where(_checkpoint.c.seq > after).order_by(_checkpoint.c.seq).limit(size)
        async with connected(self._engine) as connection:
            return tuple(_read(row) for row in await connection.execute(query))


def _read(row: Row[Any]) -> Checkpoint:
    return Checkpoint(row.seq, bytes(row.hash), as_seconds(row.taken_at), row.key_id, row.algorithm, bytes(row.signature))
