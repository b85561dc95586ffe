"""The gateway's reading of keys from PostgreSQL: memory first, then one coalesced query for everybody who waits.

A cold herd or an attack with random keys costs one `= ANY($1)` for all waiting ids instead of a query each (measured: six times
the lookups per second of one query a key; see bench/). Never SQLAlchemy here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import asyncpg
import msgspec

from gatehouse.errors import Unavailable
from gatehouse.keys.models import KeyEnvironment, KeyId, KeyRecord, KeyState, RateLimit, SignatureAlgorithm, Signing
from gatehouse.keys.roles import granted
from gatehouse.verification.cache import KeyCache

COLUMNS = (
    "id, digest, pepper_generation, environment, state, name, owner, scopes, cores, limits, expires_at, version,"
    " family_id, roles, addresses, methods, has_credits, id_generation, scheme,"
    " signing_algorithm, signing_key, signing_generation, require_signature"
)


#: A lookup that takes longer counts as "the database is away" (failure side: closed, the request is answered 503).
LOAD_TIMEOUT_S = 2.0


#: Ids in one query, and queries at the same time.
BATCH_MAX = 500


IN_FLIGHT_MAX = 2


Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


_limits = msgspec.json.Decoder(tuple[RateLimit, ...])


_environments = {environment.value: environment for environment in KeyEnvironment}


_algorithms = {algorithm.value: algorithm for algorithm in SignatureAlgorithm}


_states = {state.value: state for state in KeyState}


def key_record(row: asyncpg.Record) -> KeyRecord:
    """A row with COLUMNS as the record that decisions are made on."""
    expires_at = row["expires_at"]
    key_id, family_id = KeyId(row["id"]), KeyId(row["family_id"])
    return KeyRecord(
        id=key_id,
        digest=row["digest"],
        pepper_generation=row["pepper_generation"],
        environment=_environments[row["environment"]],
        state=_states[row["state"]],
        name=row["name"],
        owner=row["owner"],
        scopes=granted(row["scopes"], row["roles"]),
        cores=tuple(row["cores"]),
        limits=_limits.decode(row["limits"]),
        expires_at=None if expires_at is None else expires_at.timestamp(),
        version=row["version"],
        family_id=key_id if family_id == key_id else family_id,  # one string instead of two equal ones
        addresses=tuple(row["addresses"]),
        methods=tuple(row["methods"]),
        has_credits=row["has_credits"],
        scheme=sys.intern(row["scheme"]),  # one string for all
        signing=_signing(row),
    )


def _signing(row: asyncpg.Record) -> Signing | None:
    algorithm = row["signing_algorithm"]
    if algorithm is None:
        return None
    return Signing(_algorithms[algorithm], row["signing_key"], row["signing_generation"], row["require_signature"])


class PostgresKeys:
    """The Keys port. `staleness_ms` comes from whoever follows the changes (store/postgres_changes.py)."""

    def __init__(
        self,
        pool: Pool,
        cache: KeyCache,
        staleness_ms: Callable[[], int],
        *,
        plausible: Callable[[KeyId], bool] = lambda _: True,
    ) -> None:
        """`plausible`: False for an id that nobody can have been given; it costs no look-up (see store/prefilter.py)."""
        self._plausible = plausible
        self._pool = pool
        self._cache = cache
        self._waiting: dict[KeyId, asyncio.Future[KeyRecord | None]] = {}
        self._queue: list[KeyId] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.staleness_ms = staleness_ms

    async def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record or None. Raises Unavailable when it is not in memory and the database cannot be asked."""
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
        # Shielded: others may wait for the same key when this request is given up.
        return await asyncio.shield(waiter)

    async def close(self) -> None:
        """Gives up loads under way; whoever waits for one gets Unavailable."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
            await self._load(batch)

    async def _load(self, batch: Sequence[KeyId]) -> None:
        self._cache.begin_load(batch)
        try:
            # Timeout LOAD_TIMEOUT_S, failure side closed: the waiting requests are answered 503.
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                rows = await self._pool.fetch(f"SELECT {COLUMNS} FROM api_key WHERE id = ANY($1)", list(batch))  # noqa: S608
            found = {record.id: record for record in map(key_record, rows)}
        except BaseException as exc:
            self._cache.abandon_load(batch)
            away = Unavailable("The keys cannot be read at the moment", detail=f"key load: {type(exc).__name__}")
            for key_id in batch:
                waiter = self._waiting.pop(key_id)
                waiter.set_exception(away)
                waiter.exception()  # marks it as retrieved: the request that asked may have gone
            if not isinstance(exc, Exception):
                raise
            return
        for key_id in batch:
            self._waiting.pop(key_id).set_result(self._cache.end_load(key_id, found.get(key_id)))
