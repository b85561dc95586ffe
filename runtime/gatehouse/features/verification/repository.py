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
from typing import Any, Generic

import asyncpg

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.customers import resolve
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import (
    CustomerRecord,
    CustomerState,
    KeyId,
    KeyRecord,
    LimitRecord,
    PlanRecord,
)
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
from gatehouse.features.verification.cache import KeyCache, R, RecordCache
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool, Row, row_count
from gatehouse.platform.db.statements import RowMapping

#: Timeout of a query. Fails closed: the waiting requests receive status 503.
LOAD_TIMEOUT_S = 2.0

#: Maximum number of customers, of plans and of named limits in the memory of a worker.
CUSTOMERS_MAX = 200_000
PLANS_MAX = 10_000

#: Maximum number of IDs per query, whose rows are decoded in less than 2 ms of CPU time, and of
#: concurrent queries.
BATCH_SIZE = 64
IN_FLIGHT_MAX = 2

_KEYS = f"SELECT {RECORD_COLUMNS} FROM api_key WHERE id = ANY ($1)"

CUSTOMER, PLAN = RowMapping(CustomerRecord), RowMapping(PlanRecord)
LIMIT = RowMapping(LimitRecord)
_CUSTOMERS = f"SELECT {CUSTOMER.select} FROM customer WHERE id = ANY ($1)"
_PLANS = f"SELECT {PLAN.select} FROM plan WHERE name = ANY ($1)"
_LIMITS = f"SELECT {LIMIT.select} FROM named_limit WHERE name = ANY ($1)"


@dataclass(slots=True, eq=False)
class RecordLoader(Generic[R]):
    """Reads rows for a gateway worker.

    statement: selects the rows with IDs. read: decodes a row.
    """

    pool: Pool
    cache: RecordCache[R]
    statement: str
    read: Callable[[Row], R]
    _waiting: dict[str, asyncio.Future[R | None]] = field(default_factory=dict)
    _queue: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def find(self, id: str) -> R | None:
        """The record, or None if the row does not exist. Raises Unavailable."""
        record = self.cache.find(id)
        if record is not None or self.cache.absent(id):
            return record
        waiter = self._waiting.get(id)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting[id] = waiter
            self._queue.append(id)
            if len(self._tasks) < IN_FLIGHT_MAX:
                task = asyncio.create_task(self._drain())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # Shielded, because other requests may wait for the same row when this request is cancelled.
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

    async def _load(self, batch: Sequence[str]) -> None:
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
            for id in batch:
                waiter = self._waiting.pop(id)
                waiter.set_exception(error)
                # marks the exception as retrieved, because the request may have been cancelled
                waiter.exception()
            if not isinstance(exc, Exception):
                raise
            return
        for id in batch:
            self._waiting.pop(id).set_result(self.cache.end_load(id, records.get(id)))

    async def _read(self, batch: Sequence[str]) -> dict[str, R]:
        while True:
            self.cache.begin_load(batch)
            rows = await self.pool.fetch(self.statement, list(batch))
            if self.cache.is_loading(batch):
                return {record.id: record for record in map(self.read, rows)}


def customer_record(row: Row) -> CustomerRecord:
    """As `key_record`: the keys of a customer whose state or limits only a later version knows are
    denied.
    """
    try:
        return CUSTOMER.read(row)
    except ValueError:
        id, version = row["id"], row["version"]
        return CustomerRecord(id, "", CustomerState.DISABLED, None, None, False, version)


def plan_record(row: Row) -> PlanRecord:
    """A plan whose limits only a later version knows gives its keys no scopes."""
    try:
        return PLAN.read(row)
    except ValueError:
        return PlanRecord(row["name"], None, (), (), row["version"])


class KeyLoader:
    """Reads keys, with what they inherit from their customers and plans.

    cache: of the rows of keys, which are replaced by resolved ones.
    staleness_ms: returns the staleness of the change feed.
    """

    def __init__(self, pool: Pool, cache: KeyCache, staleness_ms: Callable[[], int]) -> None:
        self.cache, self.staleness_ms = cache, staleness_ms
        self.keys = RecordLoader(pool, cache, _KEYS, key_record)
        self.customers = RecordLoader(
            pool, RecordCache[CustomerRecord](CUSTOMERS_MAX), _CUSTOMERS, customer_record
        )
        self.plans = RecordLoader(pool, RecordCache[PlanRecord](PLANS_MAX), _PLANS, plan_record)
        self.limits = RecordLoader(pool, RecordCache[LimitRecord](PLANS_MAX), _LIMITS, LIMIT.read)

    @property
    def loaders(self) -> "tuple[RecordLoader[Any], ...]":
        return self.keys, self.customers, self.plans, self.limits

    async def find(self, key_id: KeyId) -> KeyRecord | None:
        """The row of a key, or None if the key does not exist. Raises Unavailable."""
        return await self.keys.find(key_id)

    async def load(self, key_id: KeyId) -> KeyRecord | None:
        """The key with what it inherits, or None if it does not exist. Raises Unavailable."""
        record = await self.keys.find(key_id)
        return None if record is None else await self.resolve(record)

    def resolved(self, record: KeyRecord) -> KeyRecord | None:
        """The key with what it inherits, or None if its customer or its plan is not cached."""
        if record.customer_id is None and record.plan is None:
            return record
        customer, customers, plans = None, self.customers.cache, self.plans.cache
        if record.customer_id is not None:
            customer = customers.find(record.customer_id)
            if customer is None and not customers.absent(record.customer_id):
                return None
        name = record.plan if customer is None else customer.plan
        plan = None if name is None else plans.find(name)
        if plan is None and name is not None and not plans.absent(name):
            return None
        is_purged = customer is None and record.customer_id is not None
        if record.terms is plan and record.customer is customer and not is_purged:
            return record
        resolved = resolve(record, customer, plan)
        self.cache.replace(record, resolved)
        return resolved

    async def resolve(self, record: KeyRecord) -> KeyRecord:
        """As `resolved`, after the customer and the plan are loaded. Raises Unavailable."""
        while (resolved := self.resolved(record)) is None:
            customer = record.customer_id and await self.customers.find(record.customer_id)
            name = customer.plan if customer else record.plan
            if name is not None:
                await self.plans.find(name)
        return resolved

    async def close(self) -> None:
        for loader in self.loaders:
            await loader.close()


#: Fails closed: a request whose credits cannot be deducted is not served.
SPEND_TIMEOUT_S = 2.0

_REFILLS_AT = f"({PERIOD} + ('1 ' || refill_every)::interval) AT TIME ZONE 'UTC'"
# All rows are locked first, in the order of their subjects, so that a request takes all credits or
# none, and concurrent requests cannot deadlock.
_SPEND = (
    f"WITH locked AS MATERIALIZED (SELECT family_id, {AVAILABLE} >= $2 AS suffices "
    "FROM key_credit WHERE family_id = ANY ($1) ORDER BY family_id FOR UPDATE), "
    f"spent AS (UPDATE key_credit SET remaining = {AVAILABLE} - $2, "
    f"refilled_at = {REFILLED_AT} FROM locked WHERE key_credit.family_id = locked.family_id "
    "AND (SELECT bool_and(suffices) AND count(*) = cardinality($1) FROM locked) "
    "AND NOT EXISTS (SELECT FROM credit_charge WHERE id = $3) "
    f"RETURNING key_credit.family_id, remaining, {_REFILLS_AT} AS refills_at), "
    "charged AS (INSERT INTO credit_charge (id) SELECT $3 WHERE $3 IS NOT NULL "
    "AND EXISTS (SELECT FROM spent)) "
    "SELECT *, true AS charged FROM spent"
)
_READ = (
    f"SELECT family_id, {AVAILABLE} AS remaining, {_REFILLS_AT} AS refills_at, "
    "EXISTS (SELECT FROM credit_charge WHERE id = $2) AS charged "
    "FROM key_credit WHERE family_id = ANY ($1)"
)
_REFUND = (
    "WITH charged AS (DELETE FROM credit_charge WHERE id = $4), locked AS MATERIALIZED "
    "(SELECT family_id FROM key_credit WHERE family_id = ANY ($1) ORDER BY family_id FOR UPDATE) "
    "UPDATE key_credit SET remaining = remaining + $2 FROM locked "
    "WHERE key_credit.family_id = locked.family_id "
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

    async def spend(
        self, subjects: list[str], cost: int, charge_id: str = ""
    ) -> dict[str, CreditState] | None:
        """Deducts `cost` from the credits of each subject, or nothing if a balance is lower, or if
        the charge with this ID was deducted before. A cost of 0 only reads the balances. Returns
        None if a subject has no credits.

        Raises Unavailable, in which case it is unknown whether `cost` was deducted.
        """
        try:
            async with asyncio.timeout(SPEND_TIMEOUT_S), self._pool.connection() as connection:
                rows = []
                if cost:
                    with contextlib.suppress(asyncpg.UniqueViolationError):
                        rows = await connection.fetch(_SPEND, subjects, cost, charge_id or None)
                is_spent = bool(rows)
                rows = rows or await connection.fetch(_READ, subjects, charge_id or None)
        except TimeoutError as exc:
            raise Unavailable(
                "Credits are temporarily unavailable.", detail="credits: TimeoutError"
            ) from exc
        if len(rows) < len(subjects):
            return None
        short = set[str]()
        if not is_spent and not rows[0]["charged"]:
            short = {row["family_id"] for row in rows if row["remaining"] < max(cost, 1)}
            if cost and not short:  # the balances have grown since
                short = set(subjects)
        return {
            row["family_id"]: CreditState(
                remaining=row["remaining"],
                exceeded=row["family_id"] in short,
                refills_at=None if row["refills_at"] is None else row["refills_at"].timestamp(),
            )
            for row in rows
        }

    async def refund(
        self, subjects: list[str], cost: int, began: float, charge_id: str = ""
    ) -> None:
        """Reverses `spend`, if the database is available, unless the credits were refilled or set
        since it began, to within the time that the statement needs to the database. began:
        `perf_counter()` before `spend`. Never raises.
        """
        if not cost:
            return
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(SPEND_TIMEOUT_S), self._pool.connection() as connection:
                seconds = time.perf_counter() - began
                await connection.execute(_REFUND, subjects, cost, seconds, charge_id or None)

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
