"""Queries of the gateway in PostgreSQL: keys, which are read from memory first, and credits.

After a restart or under an attack with random ids, one `= ANY($1)` for all waiting ids replaces a query for each (measured: six
times the lookups per second; see bench/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gatehouse.db.pool import Pool
from gatehouse.errors import Unavailable
from gatehouse.keys.models import KeyId, KeyRecord
from gatehouse.keys.repository import RECORD_COLUMNS, key_record
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.models import CreditState

#: Timeout of a query. Fails closed: the waiting requests get 503.
LOAD_TIMEOUT_S = 2.0

_SELECT = f"SELECT {RECORD_COLUMNS} FROM api_key WHERE id = ANY ($1)"

#: Ids per query, and concurrent queries.
BATCH_SIZE = 500
IN_FLIGHT_MAX = 2


class KeyLoader:
    """Keys as a gateway worker reads them. `staleness_ms` is that of the change feed."""

    def __init__(
        self,
        pool: Pool,
        cache: KeyCache,
        staleness_ms: Callable[[], int],
        *,
        plausible: Callable[[KeyId], bool] = lambda _: True,
    ) -> None:
        """`plausible`: False for an id that was never issued, which needs no query (verification/prefilter.py)."""
        self._plausible = plausible
        self._pool = pool
        self._cache = cache
        self._waiting: dict[KeyId, asyncio.Future[KeyRecord | None]] = {}
        self._queue: list[KeyId] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.staleness_ms = staleness_ms

    async def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None if the key does not exist. Raises Unavailable without a cached record and a database connection."""
        record = self._cache.find(key_id)
        if record is not None:
            return record
        if self._cache.absent(key_id) or not self._plausible(key_id):
            return None
        waiter = self._waiting.get(key_id)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting[key_id] = waiter
            self._queue.append(key_id)
            if len(self._tasks) < IN_FLIGHT_MAX:
                task = asyncio.create_task(self._drain())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # Shielded: other requests may wait for the same key when this one is cancelled.
        return await asyncio.shield(waiter)

    async def close(self) -> None:
        """Cancels running queries. Requests that wait for one get Unavailable."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:BATCH_SIZE], self._queue[BATCH_SIZE:]
            await self._load(batch)

    async def _load(self, batch: Sequence[KeyId]) -> None:
        self._cache.begin_load(batch)
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                rows = await self._pool.fetch(_SELECT, list(batch))
            records = {record.id: record for record in map(key_record, rows)}
        except BaseException as exc:
            self._cache.abandon_load(batch)
            error = Unavailable("The keys cannot be read at the moment", detail=f"key load: {type(exc).__name__}")
            for key_id in batch:
                waiter = self._waiting.pop(key_id)
                waiter.set_exception(error)
                waiter.exception()  # marks it as retrieved, because the request may have been cancelled
            if not isinstance(exc, Exception):
                raise
            return
        for key_id in batch:
            self._waiting.pop(key_id).set_result(self._cache.end_load(key_id, records.get(key_id)))


#: Fails closed: a request whose credits cannot be deducted is not served.
SPEND_TIMEOUT_S = 2.0

_PERIOD = "date_trunc(refill_every, clock_timestamp() AT TIME ZONE 'UTC')"
_DUE = f"(refill_every IS NOT NULL AND refilled_at < {_PERIOD} AT TIME ZONE 'UTC')"
_AVAILABLE = f"(CASE WHEN {_DUE} THEN greatest(remaining, refill_amount) ELSE remaining END)"
_REFILLS_AT = f"({_PERIOD} + ('1 ' || refill_every)::interval) AT TIME ZONE 'UTC'"
_SPEND = (
    f"UPDATE key_credit SET remaining = {_AVAILABLE} - $2,"
    f" refilled_at = CASE WHEN {_DUE} THEN {_PERIOD} AT TIME ZONE 'UTC' ELSE refilled_at END"
    f" WHERE family_id = $1 AND {_AVAILABLE} >= $2 RETURNING remaining, {_REFILLS_AT} AS refills_at"
)
_READ = f"SELECT {_AVAILABLE} AS remaining, {_REFILLS_AT} AS refills_at FROM key_credit WHERE family_id = $1"
_REFUND = "UPDATE key_credit SET remaining = remaining + $2 WHERE family_id = $1"


class CreditRepository:
    """Credit balances: exact across workers and after crashes, at the cost of one small write per request.

    Redis would be faster but can lose writes, and credits are paid for. No job is needed for refills: the first request in a new
    period (UTC) performs them.
    """

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
