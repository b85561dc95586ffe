"""Change feed of keys and Cores. Listens for notifications, polls every second for missed
notifications, and confirms applied changes.

The propagation bound is guaranteed. A worker's key state is as recent as the start of the last
query for changes whose result the worker has applied and then confirmed in its row in
gateway_worker. The management API waits for this confirmation (`KeyRepository.effective`).

A poll reads the last change number first. All changes up to this number are committed, so the
queries that follow in the poll see them. Of the changed keys, the worker reads the IDs and the row
versions, and only rows that it caches, is loading, or needs for open WebSockets. If there are more
than CHANGES_MAX changes, it discards its cache instead, so the duration of a poll is bounded. It
also does so after PostgreSQL was restarted or replaced: a restored database, or a replica that took
over, may lack changes that the worker has applied.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg

from gatehouse.core.clock import NEVER_MS, Clock, age_ms, monotonic, to_seconds
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId, KeyRecord
from gatehouse.core.tokens.imported_tokens import ImportedKeyIds
from gatehouse.features.cores.repository import COLUMNS as CORE_COLUMNS
from gatehouse.features.cores.repository import (
    EXTEND_LEASES,
    LOCK_CHANGES,
    CoreRegistry,
    core_record,
)
from gatehouse.features.keys.changes_in_valkey import Announcement
from gatehouse.features.keys.repository import ID_GENERATIONS, RECORD_COLUMNS, key_record
from gatehouse.features.verification.cache import Prefilter, R
from gatehouse.features.verification.repository import KeyLoader, RecordLoader
from gatehouse.platform.background import Background
from gatehouse.platform.db.pool import DRIVER_ERRORS, DatabaseLogin, explain

CHANGE_CHANNEL = "gatehouse_change"
POLL_S = 1.0

#: Minimum time between the starts of two polls: a poll has five statements, and a key can cause ten
#: changes of Cores in a second, each of which every worker reads. A single change is read at once.
POLL_MIN_S = 0.05

#: Timeout of a poll, after which the connection is replaced.
POLL_TIMEOUT_S = 1.5
RECONNECT_S = 0.25
#: Maximum number of changes that a poll reads. After more changes, the cache is discarded.
CHANGES_MAX = 20_000

#: Maximum number of rows per query, so that the event loop decodes them in less than 2 ms: pairs of
#: ID and version, and whole rows.
VERSION_ROWS = 1000
RECORD_ROWS = 100

#: Number of seconds after which the row of a worker that was killed is removed.
DEAD_WORKER_S = 7200

#: Number of seconds without a poll of any worker after which the leases of Cores are extended.
UNREAD_S = 3.0

_LAST = "SELECT seq, clock_timestamp() AS read_at FROM last_change"

#: Identifies a database until it is restored, or replaced by that of another server.
_DATABASE = (
    "SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()"
)

_VERSIONS = (
    "SELECT id, version, change_seq FROM api_key WHERE change_seq > $1 "  # noqa: S608
    f"ORDER BY change_seq LIMIT {VERSION_ROWS}"
)

_KEYS = f"SELECT {RECORD_COLUMNS} FROM api_key WHERE id = ANY ($1)"  # noqa: S608

# The ID and the version of each row, and the rows themselves.
_CUSTOMERS = ("id", "customer")
_PLANS = ("name", "plan")
_LIMITS = ("name", "named_limit")

_INHERITING = (
    "SELECT api_key.id FROM api_key LEFT JOIN customer ON customer.id = customer_id "
    "WHERE api_key.id = ANY ($1) AND (customer_id = ANY ($2) "
    "OR coalesce(api_key.plan, customer.plan) = ANY ($3))"
)

_CORES = (
    f"SELECT {CORE_COLUMNS}, change_seq FROM core WHERE change_seq > $1 ORDER BY "  # noqa: S608
    f"change_seq LIMIT {RECORD_ROWS}"
)

# The time is that of the read: PostgreSQL can execute the statement long after the worker gave up,
# when it responds again.
_HEARTBEAT = (
    "INSERT INTO gateway_worker (id, confirmed_seq, seen_at, generations) "
    "VALUES ($1, $2, $4, $3) ON CONFLICT (id) DO UPDATE "
    "SET confirmed_seq = excluded.confirmed_seq, seen_at = excluded.seen_at, "
    "generations = excluded.generations"
)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(slots=True, eq=False)
class ChangeFeed:
    """Change feed of one worker, on a separate connection.

    generations: pepper generations that this worker can read.
    clock: follows the clock of PostgreSQL, so that all gateways agree on leases and expiries.
    watched_keys: returns the IDs of the keys with open WebSockets, which are read even if they are
        not cached.
    on_key_change: called with the ID and the row of a key that may have changed, before the change
        is confirmed. None: the key does not exist.
    outage_max_s: maximum time without the registry by which the leases of Cores are extended.
    on_interrupted: called with the name of the error whenever the connection is replaced.
    """

    login: DatabaseLogin
    worker_id: str
    keys: KeyLoader
    cores: CoreRegistry
    prefilter: Prefilter
    imported_ids: ImportedKeyIds
    generations: Sequence[int]
    clock: Clock = field(default_factory=Clock)
    outage_max_s: float = 0.0
    watched_keys: Callable[[], Collection[KeyId]] = tuple
    on_key_change: Callable[[KeyId, KeyRecord | None], None] = lambda *_: None
    on_interrupted: Callable[[str], None] = lambda _: None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _background: Background = field(default_factory=Background)
    _connection: Connection | None = None
    _database: asyncpg.Record | None = None
    _position: int | None = None
    _fresh_since: float | None = None
    _polled_at: float = 0.0

    def age_ms(self) -> int:
        """Age of the state that was read, in milliseconds. The value is very large before
        `start`.
        """
        return age_ms(self._fresh_since)

    async def start(self) -> None:
        """Starts the change feed, and returns when the key state is fresh. Raises Unavailable if
        the database is unavailable or its schema is missing."""
        try:
            await self._connect()
            await self._poll()
        except DRIVER_ERRORS as exc:
            await self._disconnect()
            raise Unavailable(explain(exc, self.login), detail=type(exc).__name__) from exc
        self._background.start(self._run(), "change-feed")

    async def close(self) -> None:
        """Stops the change feed and removes this worker's row, so that no revocation waits for this
        worker.
        """
        await self._background.stop()
        if self._connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                await self._connection.execute(
                    "DELETE FROM gateway_worker WHERE id = $1", self.worker_id, timeout=1
                )
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            await asyncio.sleep(self._polled_at + POLL_MIN_S - monotonic())
            self._wake.clear()
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._connect()
                await self._poll()
            except Exception as exc:  # without the feed, every request is denied
                self.on_interrupted(type(exc).__name__)
                for loader in self.keys.loaders:
                    loader.cache.clear_absent()
                await self._disconnect()
                await asyncio.sleep(RECONNECT_S)
                self._wake.set()

    async def _connect(self) -> None:
        await self._disconnect()
        arguments = {
            **self.login.arguments(),
            "timeout": POLL_TIMEOUT_S,
            "command_timeout": POLL_TIMEOUT_S,
        }
        arguments["server_settings"] = {"application_name": "gatehouse gateway changes"}
        connection: Connection = await asyncpg.connect(**arguments)
        self._connection = connection
        connection.add_termination_listener(lambda _: self._wake.set())
        await connection.add_listener(CHANGE_CHANNEL, lambda *_: self._wake.set())
        async with connection.transaction():
            await connection.execute(LOCK_CHANGES)
            await connection.execute(EXTEND_LEASES, UNREAD_S, self.outage_max_s)
        remove_stopped = (
            "DELETE FROM gateway_worker WHERE seen_at < now() - make_interval(secs => $1)"
        )
        await connection.execute(remove_stopped, float(DEAD_WORKER_S))
        database = await connection.fetchrow(_DATABASE)
        if database != self._database:
            # It may lack the last changes, and their numbers may belong to others.
            self._database, self._position = database, None

    async def _poll(self) -> None:
        connection = self._connection
        if connection is None:
            raise ConnectionError
        queried_at = self._polled_at = monotonic()
        last, read_at = await connection.fetchrow(_LAST)
        self.clock.follow(to_seconds(read_at), queried_at)
        if last != self._position:
            await self._read_changes(connection, last)
            self._position = last
        row = (self.worker_id, last, list(self.generations), read_at)
        await connection.execute(_HEARTBEAT, *row)
        self._fresh_since = queried_at

    async def _read_changes(self, connection: Connection, last: int) -> None:
        """Applies the changes up to the number `last`."""
        for row in await connection.fetch(ID_GENERATIONS):
            self.prefilter.add(row["id_generation"])
            self.imported_ids.add(row["scheme"], row["id_generation"])
        position, changed, cores = self._position, None, self.cores
        if position is None or last < position:
            position, cores = 0, cores.empty()
        elif last - position <= CHANGES_MAX:
            changed = await self._changed_keys(connection, position)
        keys = self.keys
        if changed is None:
            for loader in keys.loaders:
                loader.cache.clear()
            changed = list({*self.watched_keys(), *keys.cache.revoked})
        else:
            changed += await self._changed_terms(connection, position, changed)
        for start in range(0, len(changed), RECORD_ROWS):
            await self._read_keys(connection, changed[start : start + RECORD_ROWS])
        async for row in _changes(connection, _CORES, position, RECORD_ROWS):
            cores.change(core_record(row))
        if cores is not self.cores:
            self.cores.replace(cores)

    async def _changed_keys(self, connection: Connection, position: int) -> list[KeyId]:
        watched, changed = self.watched_keys(), []
        async for row in _changes(connection, _VERSIONS, position, VERSION_ROWS):
            if self.keys.cache.announce(row["id"], row["version"]) or row["id"] in watched:
                changed.append(row["id"])
        return changed

    async def _changed_terms(
        self, connection: Connection, position: int, changed: list[KeyId]
    ) -> list[KeyId]:
        """Reads the changed customers and plans. Returns the watched keys that inherit from them,
        without those in `changed`.
        """
        keys = self.keys
        customers = await _apply(connection, keys.customers, _CUSTOMERS, position)
        plans = await _apply(connection, keys.plans, _PLANS, position)
        await _apply(connection, keys.limits, _LIMITS, position)
        watched = [*set(self.watched_keys()).difference(changed)] if customers or plans else []
        return [row["id"] for row in await connection.fetch(_INHERITING, watched, customers, plans)]

    async def _read_keys(self, connection: Connection, key_ids: list[KeyId]) -> None:
        rows = await connection.fetch(_KEYS, key_ids)
        records, watched = {record.id: record for record in map(key_record, rows)}, None
        for key_id in key_ids:
            record = records.get(key_id)
            if record is not None:
                self.keys.cache.change(record)
                watched = set(self.watched_keys()) if watched is None else watched
                if key_id in watched:
                    record = await self.keys.resolve(record)
            self.on_key_change(key_id, record)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


@dataclass(slots=True, eq=False)
class Freshness:
    """The age of a worker's key state, from the change feed and from the announcements in Valkey.

    announced_max_ms: maximum age of what the feed has read while announcements are used; 0: they
        are not used. leases_max_ms: maximum time for which the leases of Cores do not end.
    announcements_age_ms: time since the last read of the announcements.
    """

    clock: Clock
    max_staleness_ms: int
    announced_max_ms: int
    leases_max_ms: int
    feed_age_ms: Callable[[], int] = lambda: NEVER_MS
    announcements_age_ms: Callable[[], int] = lambda: NEVER_MS

    def staleness_ms(self) -> int:
        """Time in milliseconds during which a key may have been revoked without this worker knowing
        it. While PostgreSQL is not available, keys only change by announced revocations.
        """
        age_ms = self.feed_age_ms()
        if self.max_staleness_ms < age_ms <= self.announced_max_ms:
            return min(age_ms, self.announcements_age_ms())
        return age_ms

    def lease_time(self) -> float:
        """The time until which the leases of Cores are judged: the current time, or less while the
        registry cannot be read.
        """
        away_ms = min(self.feed_age_ms(), self.leases_max_ms) - self.max_staleness_ms
        return self.clock.now() - max(0, away_ms) / 1000


@dataclass(slots=True, eq=False)
class FreshnessProbe:
    """Readiness probe of a state that must be recent enough for decisions."""

    name: str
    age_ms: Callable[[], int]
    age_max_ms: int

    async def check(self) -> None:
        if self.age_ms() > self.age_max_ms:
            raise Unavailable("The state is too old.", detail=f"older than {self.age_max_ms} ms")


def apply_announcement(
    announcement: Announcement,
    keys: KeyLoader,
    watched_keys: Callable[[], Collection[KeyId]],
    on_key_change: Callable[[KeyId, KeyRecord | None], None],
) -> None:
    """Applies a change that was announced in Valkey. The other parameters: as in `ChangeFeed`."""
    record, revocation = announcement.record, announcement.revocation
    if revocation is not None:
        keys.cache.revoke(KeyId(revocation.target_id))
        on_key_change(KeyId(revocation.target_id), None)
    if record is not None:
        keys.cache.change(record)
        record = keys.cache.find(record.id) or record
        on_key_change(record.id, keys.resolved(record) or record)
    if announcement.customer is not None:
        keys.customers.cache.change(announcement.customer)
        for key_id in tuple(watched_keys()):
            key = keys.cache.find(key_id)
            if key is not None and key.customer_id == announcement.customer.id:
                on_key_change(key_id, keys.resolved(key))


async def _apply(
    connection: Connection, loader: RecordLoader[R], table: tuple[str, str], position: int
) -> list[str]:
    """Reads the rows of a table that have changed since `position` and are cached. Returns the IDs
    of all that have changed.
    """
    name, source = table
    changed, cached = [], []
    statement = (
        f"SELECT {name} AS id, version, change_seq FROM {source} WHERE change_seq > $1 "  # noqa: S608
        f"ORDER BY change_seq LIMIT {VERSION_ROWS}"
    )
    async for row in _changes(connection, statement, position, VERSION_ROWS):
        changed.append(row["id"])
        if loader.cache.announce(row["id"], row["version"]):
            cached.append(row["id"])
    for start in range(0, len(cached), RECORD_ROWS):
        for row in await connection.fetch(loader.statement, cached[start : start + RECORD_ROWS]):
            loader.cache.change(loader.read(row))
    return changed


async def _changes(
    connection: Connection, statement: str, position: int, page_rows: int
) -> AsyncIterator[asyncpg.Record]:
    """Rows with a change number above `position`, read in pages of `page_rows`."""
    rows: list[asyncpg.Record] | None = None
    while rows is None or len(rows) == page_rows:
        rows = await connection.fetch(statement, position)
        for row in rows:
            position = row["change_seq"]
            yield row
