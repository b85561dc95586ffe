"""Follows the changes of keys and Cores: LISTEN pushes, a poll every second catches what was missed, and both are confirmed.

The bound on staleness is proven, not hoped for. A worker counts as fresh since the moment *before* it asked for changes, and
only once the answer is applied and its own row in gateway_worker says so. Management waits for those rows, and disregards a worker
that has not written its row for longer than the bound; such a worker refuses every key by itself (flows/admit.py).

Each table has its own mark (the highest change number read from it): two queries see two snapshots, and one common mark could
skip a row that was committed between them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import asyncpg

from gatehouse.cores.repository import COLUMNS as CORE_COLUMNS
from gatehouse.cores.repository import PostgresCores, core_record
from gatehouse.db.connection import DatabaseLogin
from gatehouse.errors import Unavailable
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.imported_keys import ImportedKeyIds
from gatehouse.verification.prefilter import Prefilter
from gatehouse.verification.repository import COLUMNS as KEY_COLUMNS
from gatehouse.verification.repository import key_record

CHANGE_CHANNEL = "gatehouse_change"


CONFIRMED_CHANNEL = "gatehouse_confirmed"


POLL_S = 1.0


#: A poll that takes longer is given up and its connection replaced: the worker would rather reconnect than hang.
POLL_TIMEOUT_S = 1.5


RECONNECT_S = 0.25


PAGE_ROWS = 5000


#: Rows of workers that ended without saying so (killed, lost) are swept after this time.
DEAD_WORKER_S = 600


_KEYS = f"SELECT {KEY_COLUMNS}, change_seq FROM api_key WHERE change_seq > $1 ORDER BY change_seq LIMIT {PAGE_ROWS}"  # noqa: S608


_CORES = f"SELECT {CORE_COLUMNS}, change_seq FROM core WHERE change_seq > $1 ORDER BY change_seq LIMIT {PAGE_ROWS}"  # noqa: S608


#: The distinct values, one step in the index for each: a million keys take no longer than ten.
_ID_GENERATIONS = (
    "WITH RECURSIVE step AS (SELECT min(id_generation) AS id_generation FROM api_key UNION ALL"
    " SELECT (SELECT min(id_generation) FROM api_key WHERE id_generation > step.id_generation)"
    " FROM step WHERE step.id_generation IS NOT NULL)"
    " SELECT id_generation FROM step WHERE id_generation IS NOT NULL"
)


#: Few of them, by their partial index.
_SCHEMES = "SELECT scheme, id_generation FROM api_key WHERE scheme <> 'own' GROUP BY 1, 2"


_BEAT = (
    "WITH beat AS (INSERT INTO gateway_worker (id, confirmed_seq, seen_at, generations)"  # noqa: S608
    " VALUES ($1, $2, clock_timestamp(), $4) ON CONFLICT (id) DO UPDATE SET"
    " confirmed_seq = excluded.confirmed_seq, seen_at = excluded.seen_at, generations = excluded.generations)"
    f" SELECT CASE WHEN $3 THEN pg_notify('{CONFIRMED_CHANNEL}', $1) END"
)


Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class PostgresChanges:
    """One connection a worker. `start` returns once the picture is fresh; `staleness_ms` says how it is now."""

    def __init__(
        self,
        login: DatabaseLogin,
        *,
        worker_id: str,
        cache: KeyCache,
        cores: PostgresCores,
        on_lost: Callable[[str], None] = lambda _: None,
        prefilter: Prefilter | None = None,
        foreign: ImportedKeyIds | None = None,
        generations: Sequence[int] = (),
    ) -> None:
        """`on_lost` hears the name of an error each time the connection has to be replaced.

        prefilter: learns here whether there are keys whose ids it cannot judge. generations: of the pepper, held here.
        """
        self._prefilter = prefilter
        self._foreign = foreign
        self._generations = list(generations)
        self._login = login
        self._worker_id = worker_id
        self._cache = cache
        self._cores = cores
        self._on_lost = on_lost
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._keys_mark = 0
        self._cores_mark = 0
        self._told: int | None = None
        self._fresh_since: float | None = None

    def staleness_ms(self) -> int:
        """Milliseconds since the picture was last known to be whole; huge before `start`."""
        if self._fresh_since is None:
            return 1_000_000_000
        return int((time.monotonic() - self._fresh_since) * 1000)

    async def start(self) -> None:
        """Raises Unavailable when the database cannot be reached or its schema is missing."""
        try:
            await self._connect()
            await self._poll()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            await self._disconnect()
            raise Unavailable(_explain(exc, self._login), detail=type(exc).__name__) from exc
        self._task = asyncio.create_task(self._follow(), name="postgres-changes")

    async def close(self) -> None:
        """Stops following and takes this worker's row away, so that no revocation waits for it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await self._connection.execute("DELETE FROM gateway_worker WHERE id = $1", self._worker_id, timeout=1)
        await self._disconnect()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._news.wait()
            self._news.clear()
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._connect()
                await self._poll()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
                self._on_lost(type(exc).__name__)
                await self._disconnect()
                await asyncio.sleep(RECONNECT_S)
                self._news.set()

    async def _connect(self) -> None:
        await self._disconnect()
        arguments = {**self._login.arguments(), "timeout": POLL_TIMEOUT_S, "command_timeout": POLL_TIMEOUT_S}
        arguments["server_settings"] = {"application_name": "gatehouse gateway changes"}
        connection: Connection = await asyncpg.connect(**arguments)
        self._connection = connection
        connection.add_termination_listener(lambda _: self._news.set())
        await connection.add_listener(CHANGE_CHANNEL, lambda *_: self._news.set())
        sweep = "DELETE FROM gateway_worker WHERE seen_at < now() - make_interval(secs => $1)"
        await connection.execute(sweep, float(DEAD_WORKER_S))
        await self._check_marks(connection)
        if self._prefilter is not None:
            for row in await connection.fetch(_ID_GENERATIONS):
                self._prefilter.saw(row["id_generation"])
        if self._foreign is not None:
            for row in await connection.fetch(_SCHEMES):
                self._foreign.saw(row["scheme"], row["id_generation"])

    async def _check_marks(self, connection: Connection) -> None:
        keys_top = await connection.fetchval("SELECT coalesce(max(change_seq), 0) FROM api_key")
        cores_top = await connection.fetchval("SELECT coalesce(max(change_seq), 0) FROM core")
        if self._fresh_since is None:
            self._keys_mark = keys_top  # nothing is cached yet, so nothing before this can be wrong
        elif keys_top < self._keys_mark or cores_top < self._cores_mark:
            # The database is older than what was read from it (restored to a point in time): start from nothing.
            self._cache.clear()
            self._cores.clear()
            self._keys_mark, self._cores_mark = keys_top, 0

    async def _poll(self) -> None:
        connection = self._connection
        if connection is None:
            raise ConnectionError
        asked_at = time.monotonic()
        while True:
            rows = await connection.fetch(_KEYS, self._keys_mark)
            for row in rows:
                self._cache.change(key_record(row))
                if self._prefilter is not None:
                    self._prefilter.saw(row["id_generation"])
                if self._foreign is not None:
                    self._foreign.saw(row["scheme"], row["id_generation"])
                self._keys_mark = row["change_seq"]
            if len(rows) < PAGE_ROWS:
                break
        while True:
            rows = await connection.fetch(_CORES, self._cores_mark)
            for row in rows:
                self._cores.change(core_record(row))
                self._cores_mark = row["change_seq"]
            if len(rows) < PAGE_ROWS:
                break
        await connection.execute(_BEAT, self._worker_id, self._keys_mark, self._told != self._keys_mark, self._generations)
        self._told = self._keys_mark
        self._fresh_since = asked_at

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _explain(exc: Exception, login: DatabaseLogin) -> str:
    if isinstance(exc, asyncpg.UndefinedTableError):
        return f"the database at {login.address} has no Gatehouse schema yet: run `gatehouse migrate` first"
    if isinstance(exc, asyncpg.InvalidAuthorizationSpecificationError):
        return f"PostgreSQL at {login.address} refused the login of {login.user}: check GATEHOUSE_DATABASE_AUTH"
    hint = "check GATEHOUSE_DATABASE_URL and that the server runs"
    return f"cannot read from PostgreSQL at {login.address} ({type(exc).__name__}): {hint}"
