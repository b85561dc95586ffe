"""Credits in PostgreSQL: exact across workers and after crashes, at the cost of one small write per request.

Only keys with credits pay that cost. Redis would be faster but can lose writes, and credits are paid for. No job is needed for
refills: the first request in a new period (UTC) performs them.
"""

from __future__ import annotations

import asyncio

from gatehouse.db.pool import Pool
from gatehouse.errors import Unavailable
from gatehouse.verification.models import CreditState

#: Fails closed: a request whose credits cannot be deducted is not served.
SPEND_TIMEOUT_S = 2.0

_PERIOD = "date_trunc(refill_every, clock_timestamp() AT TIME ZONE 'UTC')"
_DUE = f"(refill_every IS NOT NULL AND refilled_at < {_PERIOD} AT TIME ZONE 'UTC')"
_AVAILABLE = f"(CASE WHEN {_DUE} THEN greatest(remaining, refill_amount) ELSE remaining END)"
_REFILLS_AT = f"({_PERIOD} + ('1 ' || refill_every)::interval) AT TIME ZONE 'UTC'"
_SPEND = (
    f"UPDATE key_credit SET remaining = {_AVAILABLE} - $2,"  # noqa: S608
    f" refilled_at = CASE WHEN {_DUE} THEN {_PERIOD} AT TIME ZONE 'UTC' ELSE refilled_at END"
    f" WHERE family_id = $1 AND {_AVAILABLE} >= $2 RETURNING remaining, {_REFILLS_AT} AS refills_at"
)
_READ = f"SELECT {_AVAILABLE} AS remaining, {_REFILLS_AT} AS refills_at FROM key_credit WHERE family_id = $1"  # noqa: S608
_REFUND = "UPDATE key_credit SET remaining = remaining + $2 WHERE family_id = $1"


class CreditRepository:
    """Credit balances in the table `key_credit`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def spend(self, subject: str, cost: int) -> CreditState | None:
        """Deducts `cost`, or nothing if the balance is lower; cost 0 only reads the balance. None: the key family has no credits.

        Raises Unavailable. It is then unknown whether `cost` was deducted.
        """
        try:
            async with asyncio.timeout(SPEND_TIMEOUT_S):
                row = await self._pool.fetchrow(_SPEND, subject, cost) if cost else None
                deducted = row is not None
                row = row or await self._pool.fetchrow(_READ, subject)
        except TimeoutError as exc:
            raise Unavailable("Credits cannot be counted at the moment", detail="credits: TimeoutError") from exc
        if row is None:
            return None
        refills_at = None if row["refills_at"] is None else row["refills_at"].timestamp()
        exceeded = not deducted and (cost > 0 or row["remaining"] < 1)
        return CreditState(remaining=row["remaining"], exceeded=exceeded, refills_at=refills_at)

    async def refund(self, subject: str, cost: int) -> None:
        """Reverses a `spend` of a request that was denied. Never raises: credits that cannot be refunded stay deducted."""
        if not cost:
            return
        try:
            async with asyncio.timeout(SPEND_TIMEOUT_S):
                await self._pool.execute(_REFUND, subject, cost)
        except (Unavailable, TimeoutError):
            return
