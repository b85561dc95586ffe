"""The port of answers that are given again: who repeats a request with its Idempotency-Key gets what the first one got.

Idempotency keys in PostgreSQL: one row a key and caller, taken by whoever inserts it first.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import as_datetime, as_seconds
from gatehouse.db.engine import transaction
from gatehouse.db.tables import audit_event


class Claim(msgspec.Struct, frozen=True):
    """A request that is about to act. `lookup` and `fingerprint`: 32 bytes each; times are Unix seconds."""

    lookup: bytes
    fingerprint: bytes
    request_id: str
    at: float
    expires_at: float


class Earlier(msgspec.Struct, frozen=True):
    """What an earlier request with this key left. `done`: the id of what it made or changed, by the audit trail; empty: nothing.

    running: it has not said how it ended. sealed, generation: its answer, while there is one.
    """

    fingerprint: bytes
    request_id: str
    claimed_at: float
    running: bool
    generation: int | None
    sealed: bytes | None
    done: str


class IdempotencyStore(Protocol):
    async def claim(self, claim: Claim) -> Earlier | None:
        """Takes the key for a request; None: by this one, and exactly one of many at once gets None. Raises Unavailable."""
        ...

    async def take_over(self, claim: Claim, earlier: Earlier) -> bool:
        """Takes the key from an earlier request that did nothing; False when somebody else was faster."""
        ...

    async def keep(self, claim: Claim, *, target_id: str, generation: int, sealed: bytes) -> None:
        """Keeps the answer of the request that took the key."""
        ...

    async def release(self, claim: Claim, *, forget: bool) -> None:
        """The request ended without an answer to keep. forget: it did nothing, so the key is as if it had never been sent."""
        ...

    async def prune(self, *, now: float) -> int:
        """Deletes what has expired; the number of rows."""
        ...


_row = Table(
    "idempotent_request",
    MetaData(),
    Column("lookup", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary),
    Column("request_id", Text),
    Column("claimed_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True)),
    Column("running", Boolean),
    Column("target_id", Text),
    Column("generation", Integer),
    Column("sealed", LargeBinary),
)


#: The clocks of two consoles may differ by this much when the act is looked for in the audit trail.
_SKEW_S = 60.0


class PostgresIdempotencyStore:
    """`ports_replay.Replays` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, claim: Claim) -> Earlier | None:
        taken = insert(_row).values(lookup=claim.lookup, **_fresh(claim))
        taken = taken.on_conflict_do_update(
            index_elements=["lookup"], set_=_fresh(claim), where=_row.c.expires_at <= as_datetime(claim.at)
        )
        async with transaction(self._engine) as connection:
            if (await connection.execute(taken.returning(_row.c.lookup))).one_or_none() is not None:
                return None
            found = (await connection.execute(select(_row).where(_row.c.lookup == claim.lookup))).one_or_none()
            if found is None:
                # Released between the two statements: whoever asks again will take it.
                return Earlier(claim.fingerprint, claim.request_id, claim.at, True, None, None, "")
            acted = select(audit_event.c.target_id).where(
                audit_event.c.occurred_at >= as_datetime(as_seconds(found.claimed_at) - _SKEW_S),
                audit_event.c.request_id == found.request_id,
                audit_event.c.outcome == "success",
            )
            done = "" if found.sealed is not None else (await connection.execute(acted.limit(1))).scalar() or ""
        return Earlier(
            fingerprint=bytes(found.fingerprint),
            request_id=found.request_id,
            claimed_at=as_seconds(found.claimed_at),
            running=found.running,
            generation=found.generation,
            sealed=None if found.sealed is None else bytes(found.sealed),
            done=done,
        )

    async def take_over(self, claim: Claim, earlier: Earlier) -> bool:
        mine = update(_row).where(_row.c.lookup == claim.lookup, _row.c.request_id == earlier.request_id, _row.c.sealed.is_(None))
        async with transaction(self._engine) as connection:
            return (await connection.execute(mine.values(**_fresh(claim)))).rowcount == 1

    async def keep(self, claim: Claim, *, target_id: str, generation: int, sealed: bytes) -> None:
        answer = {"running": False, "target_id": target_id, "generation": generation, "sealed": sealed}
        async with transaction(self._engine) as connection:
            await connection.execute(update(_row).where(*_of(claim)).values(**answer))

    async def release(self, claim: Claim, *, forget: bool) -> None:
        ended = delete(_row) if forget else update(_row).values(running=False)
        async with transaction(self._engine) as connection:
            await connection.execute(ended.where(*_of(claim)))

    async def prune(self, *, now: float) -> int:
        async with transaction(self._engine) as connection:
            return (await connection.execute(delete(_row).where(_row.c.expires_at <= as_datetime(now)))).rowcount


def _of(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (_row.c.lookup == claim.lookup, _row.c.request_id == claim.request_id)


def _fresh(claim: Claim) -> dict[str, object]:
    return {
        "fingerprint": claim.fingerprint,
        "request_id": claim.request_id,
        "claimed_at": as_datetime(claim.at),
        "expires_at": as_datetime(claim.expires_at),
        "running": True,
        "target_id": "",
        "generation": None,
        "sealed": None,
    }
