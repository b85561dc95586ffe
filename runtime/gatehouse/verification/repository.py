"""Reads of the gateway: from memory first, then one query for all keys that are requested at the same time.

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
        """Cancel running queries. Requests that wait for one get Unavailable."""
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
