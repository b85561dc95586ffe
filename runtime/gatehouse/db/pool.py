"""Pool of PostgreSQL connections: the only way from the runtime to the database, and the only translation of its errors.

New connections, waits for a free connection and statements have timeouts. Errors of the driver are raised as `Unavailable`, so
that requests fail closed while the database cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.connection import LoggedQuery
from asyncpg.pool import PoolConnectionProxy

from gatehouse.db.connection import DatabaseLogin, database
from gatehouse.errors import Unavailable
from gatehouse.settings import Settings

Row: TypeAlias = "asyncpg.Record"

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

#: Called with the text of a statement and its duration in seconds. Values are bound parameters and never part of the text.
OnSlowQuery = Callable[[str, float], None]

#: Seconds to wait for a free connection.
ACQUIRE_TIMEOUT_S = 5.0

#: Seconds until the readiness probe gives up, well below the timeout of a load balancer.
PROBE_TIMEOUT_S = 2.0

#: Characters of a statement in the slow query log.
STATEMENT_CHARS = 160

#: Raised by asyncpg and by the sockets under it when a statement fails or the server cannot be reached.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class Pool:
    """Connections of one process. The first statement opens the pool; `open` does so at start-up and explains a failed login."""

    def __init__(
        self,
        login: DatabaseLogin,
        *,
        application: str,
        size_max: int,
        acquire_timeout_s: float = ACQUIRE_TIMEOUT_S,
        slow_query_s: float = 0.0,
        on_slow_query: OnSlowQuery | None = None,
    ) -> None:
        """`application` is shown in pg_stat_activity. Statements of at least `slow_query_s` are reported, also failed ones."""
        self._login = login
        self._application = application
        self._size_max = size_max
        self._acquire_timeout_s = acquire_timeout_s
        self._slow_query_s = slow_query_s
        self._on_slow_query = on_slow_query
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Open a connection. Raises Unavailable with what to check if the login fails."""
        try:
            pool = await self._opened()
            async with pool.acquire():
                return
        except DRIVER_ERRORS as exc:
            raise Unavailable(
                f"cannot connect to PostgreSQL at {self._login.address} as {self._login.user} ({type(exc).__name__}):"
                " check GATEHOUSE_DATABASE_URL, GATEHOUSE_DATABASE_AUTH and that the server is running"
            ) from exc

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """A connection without a transaction. `timeout_s`: to wait for it. Raises Unavailable."""
        try:
            pool = self._pool or await self._opened()
            async with asyncio.timeout(self._acquire_timeout_s if timeout_s is None else timeout_s):
                connection = await pool.acquire()
            try:
                yield connection
            finally:
                await pool.release(connection)
        except DRIVER_ERRORS as exc:
            raise Unavailable("The database is not available", detail=type(exc).__name__) from exc

    @asynccontextmanager
    async def transaction(
        self, *, timeout_s: float | None = None, snapshot: bool = False, readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """A connection in a transaction, committed at the end of the block and rolled back by an exception. Raises Unavailable.

        The isolation level is READ COMMITTED, because the writer of the audit chain must see what was committed while it waited
        for its lock. `snapshot`: REPEATABLE READ.
        """
        isolation = "repeatable_read" if snapshot else "read_committed"
        async with (
            self.connection(timeout_s=timeout_s) as connection,
            connection.transaction(isolation=isolation, readonly=readonly),
        ):
            yield connection

    async def fetch(self, statement: str, *values: Any, timeout_s: float | None = None) -> list[Row]:
        """`timeout_s`: for the connection and for the statement. Raises Unavailable, like the other methods."""
        async with self.connection(timeout_s=timeout_s) as connection:
            rows: list[Row] = await connection.fetch(statement, *values, timeout=timeout_s)
            return rows

    async def fetchrow(self, statement: str, *values: Any, timeout_s: float | None = None) -> Row | None:
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetchrow(statement, *values, timeout=timeout_s)

    async def fetchval(self, statement: str, *values: Any, timeout_s: float | None = None) -> Any:
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetchval(statement, *values, timeout=timeout_s)

    async def execute(self, statement: str, *values: Any, timeout_s: float | None = None) -> int:
        """Number of rows that the statement changed."""
        async with self.connection(timeout_s=timeout_s) as connection:
            return row_count(await connection.execute(statement, *values, timeout=timeout_s))

    async def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                # arguments() has a callable for the password, so every new connection gets a fresh IAM token.
                self._pool = await asyncpg.create_pool(
                    **self._login.arguments(),
                    min_size=0,
                    max_size=self._size_max,
                    server_settings={"application_name": self._application},
                    init=None if self._on_slow_query is None else self._log_slow_queries,
                )
            return self._pool

    async def _log_slow_queries(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        report, threshold_s = self._on_slow_query, self._slow_query_s

        def log(query: LoggedQuery) -> None:
            if report is not None and query.elapsed >= threshold_s:
                report(one_line(query.query), query.elapsed)

        connection.add_query_logger(log)


def pool_of(settings: Settings, application: str, on_slow_query: OnSlowQuery) -> Pool:
    """Pool of a service. Raises SettingsError."""
    return Pool(
        database(settings),
        application=application,
        size_max=settings.database_pool_size,
        acquire_timeout_s=settings.database_pool_timeout_s,
        slow_query_s=settings.slow_query_threshold_ms / 1000,
        on_slow_query=on_slow_query if settings.slow_query_threshold_ms else None,
    )


class DatabaseProbe:
    """Readiness of the database: it answers, and the schema exists."""

    name = "database"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> None:
        """Raises Unavailable, after PROBE_TIMEOUT_S at the latest."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._pool.fetchval("SELECT 1 FROM audit_event, gateway_worker LIMIT 1")
        except TimeoutError as exc:
            raise Unavailable("The database is not available", detail=f"no answer within {PROBE_TIMEOUT_S:.0f} s") from exc


def one_line(statement: str) -> str:
    """The beginning of a statement on one line, long enough to find it in the source."""
    return " ".join(statement.split())[:STATEMENT_CHARS]


def row_count(status: str) -> int:
    """Number of rows in a command status such as `UPDATE 3`; 0 if it has none."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0
