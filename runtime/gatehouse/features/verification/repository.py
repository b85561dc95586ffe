"""The gateway's PostgreSQL queries: key lookups (on a cache miss), credits, and the migration of
keys to the newest pepper generation.

After a restart or under an attack with random IDs, a single query for all waiting IDs, with `=
ANY($1)`, replaces one query per ID, which saves a round trip for each ID.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import asyncpg

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId, KeyRecord
from gatehouse.core.tokens.token import Pepper
from gatehouse.core.verification import CreditState
from gatehouse.features.keys.repository import (
    AVAILABLE,
    PERIOD,
    RECORD_COLUMNS,
    REFILLED_AT,
    KeyRepository,
    key_record,
)
from gatehouse.features.verification.cache import KeyCache
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool, row_count

#: Timeout of a query. Fails closed: the waiting requests receive status 503.
LOAD_TIMEOUT_S = 2.0

_SELECT = f"SELECT {RECORD_COLUMNS} FROM api_key WHERE id = ANY ($1)"

#: Maximum number of IDs per query, whose rows are decoded in less than 2 ms of CPU time, and of
#: concurrent queries.
BATCH_SIZE = 64
IN_FLIGHT_MAX = 2


@dataclass(slots=True, eq=False)
class KeyLoader:
    """Reads keys for a gateway worker.

    staleness_ms: returns the staleness of the change feed.
    """

    pool: Pool
    cache: KeyCache
    staleness_ms: Callable[[], int]
    _waiting: dict[KeyId, asyncio.Future[KeyRecord | None]] = field(default_factory=dict)
    _queue: list[KeyId] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None if the key does not exist. Raises Unavailable."""
        record = self.cache.find(key_id)
        if record is not None or self.cache.absent(key_id):
            return record
        waiter = self._waiting.get(key_id)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting[key_id] = waiter
            self._queue.append(key_id)
            if len(self._tasks) < IN_FLIGHT_MAX:
                task = asyncio.create_task(self._drain())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # Shielded, because other requests may wait for the same key when this request is cancelled.
        return await asyncio.shield(waiter)

    async def close(self) -> None:
        """Cancels running queries, for which requests raise Unavailable."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:BATCH_SIZE], self._queue[BATCH_SIZE:]
            await self._load(batch)

    async def _load(self, batch: Sequence[KeyId]) -> None:
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                records = await self._read(batch)
        except BaseException as exc:
            self.cache.abandon_load(batch)
            if isinstance(exc, TimeoutError):
                # The next query would not receive a response either.
                batch, self._queue = [*batch, *self._queue], []
            error = Unavailable(
                "Key records are temporarily unavailable.", detail=f"key load: {type(exc).__name__}"
            )
            for key_id in batch:
                waiter = self._waiting.pop(key_id)
                waiter.set_exception(error)
                # marks the exception as retrieved, because the request may have been cancelled
                waiter.exception()
            if not isinstance(exc, Exception):
                raise
            return
        for key_id in batch:
            self._waiting.pop(key_id).set_result(self.cache.end_load(key_id, records.get(key_id)))

    async def _read(self, batch: Sequence[KeyId]) -> dict[KeyId, KeyRecord]:
        while True:
            self.cache.begin_load(batch)
            rows = await self.pool.fetch(_SELECT, list(batch))
            if self.cache.is_loading(batch):
                return {record.id: record for record in map(key_record, rows)}


#: Fails closed: a request whose credits cannot be deducted is not served.
SPEND_TIMEOUT_S = 2.0

_REFILLS_AT = f"({PERIOD} + ('1 ' || refill_every)::interval) AT TIME ZONE 'UTC'"
_SPEND = (
    f"WITH spent AS (UPDATE key_credit SET remaining = {AVAILABLE} - $2, "
    f"refilled_at = {REFILLED_AT} WHERE family_id = $1 AND {AVAILABLE} >= $2 "
    "AND NOT EXISTS (SELECT FROM credit_charge WHERE id = $3) "
    f"RETURNING remaining, {_REFILLS_AT} AS refills_at), "
    "charged AS (INSERT INTO credit_charge (id) SELECT $3 FROM spent WHERE $3 IS NOT NULL) "
    "SELECT *, true AS charged FROM spent"
)
_READ = (
    f"SELECT {AVAILABLE} AS remaining, {_REFILLS_AT} AS refills_at, "
    "EXISTS (SELECT FROM credit_charge WHERE id = $2) AS charged "
    "FROM key_credit WHERE family_id = $1"
)
_REFUND = (
    "WITH charged AS (DELETE FROM credit_charge WHERE id = $4) "
    "UPDATE key_credit SET remaining = remaining + $2 WHERE family_id = $1 "
    "AND refilled_at <= now() - make_interval(secs => $3)"
)
#: Envoy repeats no request after this time in seconds (bootstrap.yaml.j2).
CHARGES_KEPT_S = 120.0
_FORGET = "DELETE FROM credit_charge WHERE charged_at < now() - make_interval(secs => $1)"


class CreditRepository:
    """Stores credit balances. Balances are exact across workers and after crashes; each request
    costs one small write. A request that Envoy repeats because its worker was killed is charged
    once: its ID is written together with the charge.

    Redis would be faster but can lose writes, and credits are paid for. Refills require no job,
    because the first request in a new period (UTC) performs the refill.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def spend(self, subject: str, cost: int, charge_id: str = "") -> CreditState | None:
        """Deducts `cost`, or nothing if the balance is lower, or if the charge with this ID was
        deducted before. A cost of 0 only reads the balance. Returns None if the key family has no
        credits.

        Raises Unavailable, in which case it is unknown whether `cost` was deducted.
        """
        try:
            async with asyncio.timeout(SPEND_TIMEOUT_S), self._pool.connection() as connection:
                row = None
                if cost:
                    with contextlib.suppress(asyncpg.UniqueViolationError):
                        row = await connection.fetchrow(_SPEND, subject, cost, charge_id or None)
                row = row or await connection.fetchrow(_READ, subject, charge_id or None)
        except TimeoutError as exc:
            raise Unavailable(
                "Credits are temporarily unavailable.", detail="credits: TimeoutError"
            ) from exc
        if row is None:
            return None
        refills_at = None if row["refills_at"] is None else row["refills_at"].timestamp()
        exceeded = not row["charged"] and (cost > 0 or row["remaining"] < 1)
        return CreditState(remaining=row["remaining"], exceeded=exceeded, refills_at=refills_at)

    async def refund(self, subject: str, cost: int, began: float, charge_id: str = "") -> None:
        """Reverses `spend`, if the database is available, unless the credits were refilled or set
        since it began. began: `perf_counter()` before `spend`. Never raises.
        """
        if not cost:
            return
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(SPEND_TIMEOUT_S), self._pool.connection() as connection:
                seconds = time.perf_counter() - began
                await connection.execute(_REFUND, subject, cost, seconds, charge_id or None)

    async def forget_charges(self) -> None:
        """Removes the IDs of requests that Envoy no longer repeats. Raises Unavailable."""
        await self._pool.execute(_FORGET, CHARGES_KEPT_S)


FLUSH_S = 2.0

#: Maximum length of the queue. Further keys are migrated when they are used again.
QUEUE_MAX = 1000
WRITE_TIMEOUT_S = 5.0

# In the order of other changes, and before the change trigger takes its lock, so that they cannot
# deadlock.
_LOCK = "SELECT FROM api_key WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"

_MIGRATE = (
    "UPDATE api_key SET digest = wrapped.digest, pepper_generation = $3 "
    "FROM unnest($1::text[], $2::bytea[], $4::integer[]) AS wrapped (id, digest, before) "
    "WHERE api_key.id = wrapped.id AND api_key.pepper_generation = wrapped.before "
    "AND state <> 'purged'"
)


@dataclass(slots=True, eq=False)
class PepperMigration:
    """Migrates keys to the newest pepper generation when they are used, because the new digest
    requires the token.

    Runs outside the request: a request adds the new digest to a queue, and a task writes the queue
    at most every FLUSH_S, with one audit event per batch. The task writes only after every live
    gateway can read the new generation, so that no request fails while a new pepper is rolled out.
    Until then, the task discards the queue, because the next use adds the key again.
    """

    pool: Pool
    keys: KeyRepository
    pepper: Pepper
    _queue: dict[KeyId, tuple[bytes, int]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    def add(self, key_id: KeyId, token: str, generation: int) -> None:
        """Queues a key whose token was just verified under an old generation. Computes one HMAC and
        performs no I/O.
        """
        if (
            generation >= self.pepper.current
            or key_id in self._queue
            or len(self._queue) >= QUEUE_MAX
        ):
            return
        self._queue[key_id] = (self.pepper.hmac(token), generation)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush_later(), name="pepper-migration")

    async def flush(self) -> int:
        """Writes the queue and returns the number of migrated keys. Never raises, because the next
        use queues the keys again.
        """
        queue, self._queue = self._queue, {}
        if not queue:
            return 0
        current = self.pepper.current
        try:
            async with self.pool.transaction(deadline_s=WRITE_TIMEOUT_S) as connection:
                if await self.keys.writable_generation([current], connection) is None:
                    return 0
                await connection.execute(_LOCK, list(queue))
                digests, generations = zip(*queue.values(), strict=True)
                count = row_count(
                    await connection.execute(
                        _MIGRATE, list(queue), list(digests), current, list(generations)
                    )
                )
                if count:
                    await append(connection, _event(count, current))
        except Unavailable:
            return 0
        return count

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        await self.flush()


def _event(count: int, generation: int) -> AuditEvent:
    actor, details = Actor("system", "gateway"), Details(keys=count, generation=generation)
    return actor.event(
        AuditAction.PEPPER_REWRAP, target_id=str(generation), at=time.time(), details=details
    )
