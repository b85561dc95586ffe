"""Change feed of keys and Cores. Listens for notifications, polls every second for missed
notifications, and confirms applied changes.

The propagation bound is guaranteed. A worker's key state is as recent as the start of the last
query for changes whose result the worker has applied and then confirmed in its row in
gateway_worker. The management API waits until all workers have confirmed a change. It does not wait
for a worker that has not updated its row for longer than twice the bound, because such a worker
already denies every key (verification/service.py).

Each table has a separate position: the highest change number that was read from the table. Two
queries see two snapshots, and a common position could skip a row that was committed between the
queries.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg

from gatehouse.core.errors import Unavailable
from gatehouse.core.imported_tokens import ImportedKeyIds
from gatehouse.core.keys import KeyRecord
from gatehouse.features.cores.repository import COLUMNS as CORE_COLUMNS
from gatehouse.features.cores.repository import CoreRegistry, core_record
from gatehouse.features.keys.repository import RECORD_COLUMNS, key_record
from gatehouse.features.verification.cache import KeyCache, Prefilter
from gatehouse.platform.background import Background
from gatehouse.platform.db.pool import DRIVER_ERRORS, DatabaseLogin, explain

CHANGE_CHANNEL = "gatehouse_change"
POLL_S = 1.0

#: Timeout of a poll, after which the connection is replaced.
POLL_TIMEOUT_S = 1.5
RECONNECT_S = 0.25
PAGE_ROWS = 1000

#: Number of seconds after which the row of a worker that was killed is removed.
DEAD_WORKER_S = 600

_KEYS = (
    f"SELECT {RECORD_COLUMNS}, change_seq FROM api_key WHERE change_seq > $1 ORDER BY "  # noqa: S608
    f"change_seq LIMIT {PAGE_ROWS}"
)

_CORES = (
    f"SELECT {CORE_COLUMNS}, change_seq FROM core WHERE change_seq > $1 ORDER BY "  # noqa: S608
    f"change_seq LIMIT {PAGE_ROWS}"
)

#: Reads distinct values with an index skip scan, so that the query takes no longer for a million
#: keys than for ten keys.
_ID_GENERATIONS = (
    "WITH RECURSIVE step AS (SELECT min(id_generation) AS id_generation FROM api_key "
    "UNION ALL SELECT (SELECT min(id_generation) FROM api_key "
    "WHERE id_generation > step.id_generation) FROM step WHERE step.id_generation IS NOT NULL) "
    "SELECT id_generation FROM step WHERE id_generation IS NOT NULL"
)

#: Uses the partial index of imported keys.
_SCHEMES = "SELECT scheme, id_generation FROM api_key WHERE scheme <> 'own' GROUP BY 1, 2"

_HEARTBEAT = (
    "INSERT INTO gateway_worker (id, confirmed_seq, seen_at, generations) "
    "VALUES ($1, $2, clock_timestamp(), $3) ON CONFLICT (id) DO UPDATE "
    "SET confirmed_seq = excluded.confirmed_seq, seen_at = excluded.seen_at, "
    "generations = excluded.generations"
)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(slots=True, eq=False)
class ChangeFeed:
    """Change feed of one worker, on a separate connection.

    generations: pepper generations that this worker can read.
    on_key_change: called with each change of a key before the change is confirmed, or with None if
        the state of any key may have changed.
    on_interrupted: called with the name of the error whenever the connection is replaced.
    """

    login: DatabaseLogin
    worker_id: str
    cache: KeyCache
    cores: CoreRegistry
    prefilter: Prefilter
    imported_ids: ImportedKeyIds
    generations: Sequence[int]
    on_key_change: Callable[[KeyRecord | None], None] = lambda _: None
    on_interrupted: Callable[[str], None] = lambda _: None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _background: Background = field(default_factory=Background)
    _connection: Connection | None = None
    _keys_position: int = 0
    _cores_position: int = 0
    _fresh_since: float | None = None

    def staleness_ms(self) -> int:
        """Age of the key state in milliseconds. The value is very large before `start`."""
        if self._fresh_since is None:
            return 1_000_000_000
        return int((time.monotonic() - self._fresh_since) * 1000)

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
            self._wake.clear()
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._connect()
                await self._poll()
            except DRIVER_ERRORS as exc:
                self.on_interrupted(type(exc).__name__)
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
        remove_stopped = (
            "DELETE FROM gateway_worker WHERE seen_at < now() - make_interval(secs => $1)"
        )
        await connection.execute(remove_stopped, float(DEAD_WORKER_S))
        await self._check_positions(connection)
        for row in await connection.fetch(_ID_GENERATIONS):
            self.prefilter.add(row["id_generation"])
        for row in await connection.fetch(_SCHEMES):
            self.imported_ids.add(row["scheme"], row["id_generation"])

    async def _check_positions(self, connection: Connection) -> None:
        keys_last = await connection.fetchval("SELECT coalesce(max(change_seq), 0) FROM api_key")
        cores_last = await connection.fetchval("SELECT coalesce(max(change_seq), 0) FROM core")
        if self._fresh_since is None:
            self._keys_position = keys_last  # nothing is cached yet
        elif keys_last < self._keys_position or cores_last < self._cores_position:
            # The database was restored to an earlier time, so discard everything.
            self.cache.clear()
            self.cores.clear()
            self.on_key_change(None)
            self._keys_position, self._cores_position = keys_last, 0

    async def _poll(self) -> None:
        connection = self._connection
        if connection is None:
            raise ConnectionError
        queried_at = time.monotonic()
        async for row in _changes(connection, _KEYS, self._keys_position):
            record = key_record(row)
            self.cache.change(record)
            self.on_key_change(record)
            self.prefilter.add(row["id_generation"])
            self.imported_ids.add(row["scheme"], row["id_generation"])
            self._keys_position = row["change_seq"]
        async for row in _changes(connection, _CORES, self._cores_position):
            self.cores.change(core_record(row))
            self._cores_position = row["change_seq"]
        await connection.execute(
            _HEARTBEAT, self.worker_id, self._keys_position, list(self.generations)
        )
        self._fresh_since = queried_at

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


@dataclass(frozen=True)
class FreshnessProbe:
    """Readiness probe of the key state, which must be recent enough for decisions."""

    name = "keys"

    staleness_ms: Callable[[], int]
    max_staleness_ms: int

    async def check(self) -> None:
        """Raises Unavailable."""
        if self.staleness_ms() > self.max_staleness_ms:
            raise Unavailable(
                "The key state is too old.", detail=f"older than {self.max_staleness_ms} ms"
            )


async def _changes(
    connection: Connection, statement: str, position: int
) -> AsyncIterator[asyncpg.Record]:
    """Rows with a change number above `position`, read in pages."""
    rows: list[asyncpg.Record] | None = None
    while rows is None or len(rows) == PAGE_ROWS:
        rows = await connection.fetch(statement, position)
        for row in rows:
            position = row["change_seq"]
            yield row
