"""Credits in PostgreSQL: exact over all workers and through every crash, at the price of one small write per counted request.

Only keys that have a purse pay it. Redis would be faster and could forget what was spent; what somebody paid for is not
an approximation. The refill needs no job: whoever comes first in a new period (UTC) finds it."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import asyncpg

from gatehouse.errors import Unavailable
from gatehouse.verification.models import CreditState

#: Failure side: closed. What cannot be counted is not served, and the client is told to come back.
SPEND_TIMEOUT_S = 2.0


_PERIOD = "date_trunc(refill_every, clock_timestamp() AT TIME ZONE 'UTC')"


_DUE = f"(refill_every IS NOT NULL AND refilled_at < {_PERIOD} AT TIME ZONE 'UTC')"


_AVAILABLE = f"(CASE WHEN {_DUE} THEN greatest(remaining, refill_amount) ELSE remaining END)"


_REFILLS_AT = f"({_PERIOD} + ('1 ' || refill_every)::interval) AT TIME ZONE 'UTC'"


_SPEND = (
    f"UPDATE key_credit SET remaining = {_AVAILABLE} - $2,"  # noqa: S608
    f" refilled_at = CASE WHEN {_DUE} THEN {_PERIOD} AT TIME ZONE 'UTC' ELSE refilled_at END"
    f" WHERE lineage_id = $1 AND {_AVAILABLE} >= $2 RETURNING remaining, {_REFILLS_AT} AS refills_at"
)


_LOOK = f"SELECT {_AVAILABLE} AS remaining, {_REFILLS_AT} AS refills_at FROM key_credit WHERE lineage_id = $1"  # noqa: S608


_GIVE_BACK = "UPDATE key_credit SET remaining = remaining + $2 WHERE lineage_id = $1"


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class PostgresCredits:
    """`ports.Credits` on the table `key_credit`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def spend(self, subject: str, cost: int) -> CreditState | None:
        try:
            async with asyncio.timeout(SPEND_TIMEOUT_S):
                row = await self._pool.fetchrow(_SPEND, subject, cost) if cost else None
                passed = row is not None
                row = row or await self._pool.fetchrow(_LOOK, subject)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise Unavailable("Credits cannot be counted at the moment", detail=f"credits: {type(exc).__name__}") from exc
        if row is None:
            return None
        refills_at = None if row["refills_at"] is None else row["refills_at"].timestamp()
        exceeded = not passed and (cost > 0 or row["remaining"] < 1)
        return CreditState(remaining=row["remaining"], exceeded=exceeded, refills_at=refills_at)

    async def give_back(self, subject: str, cost: int) -> None:
        if not cost:
            return
        try:
            async with asyncio.timeout(SPEND_TIMEOUT_S):
                await self._pool.execute(_GIVE_BACK, subject, cost)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            # Failure side: the credits stay spent. Nobody gets more than was granted, one request paid for nothing.
            return
