"""The SQLAlchemy engine of the management side and the translation of its errors; knows no table.

Every connection has a timeout for connecting and one for statements (store/postgres_login.py). The failure side is closed:
whoever cannot reach the database raises `Unavailable`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gatehouse.db.connection import DatabaseLogin
from gatehouse.errors import Unavailable

#: How long a request waits for a free connection of the pool.
POOL_TIMEOUT_S = 5.0


#: Connections are renewed before the idle timeouts of firewalls and of RDS Proxy (30 minutes) can close them silently.
RECYCLE_S = 900


def build(login: DatabaseLogin, *, pool_max: int, application: str, wait_s: float = POOL_TIMEOUT_S) -> AsyncEngine:
    """An engine that opens at most `pool_max` connections, none before the first use. pg_stat_activity shows `application`.

    wait_s: for a free one.
    """
    arguments = login.arguments()

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        # Called once a connection, so an IAM token is always fresh.
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            **arguments, server_settings={"application_name": application}
        )
        return connection

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_max,
        max_overflow=0,
        pool_timeout=wait_s,
        pool_recycle=RECYCLE_S,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # the audit chain needs to see what was committed while it waited for its lock
        hide_parameters=True,  # error texts of SQLAlchemy would carry values otherwise
    )


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for reading. Raises Unavailable when the database cannot be reached."""
    with_connection = engine.connect()
    async with _translated(), with_connection as connection:
        yield connection


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in one transaction: all of it is committed at the end of the block, or nothing is. Raises Unavailable."""
    with_transaction = engine.begin()
    async with _translated(), with_transaction as connection:
        yield connection


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (DBAPIError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
        # The class names alone: a driver's text may quote values of a row.
        cause = getattr(exc, "orig", None) or exc
        raise Unavailable("The database is not available", detail=f"{type(exc).__name__}: {type(cause).__name__}") from exc


class DatabaseProbe:
    """Readiness of the database: it answers, and its schema is there."""

    name = "database"

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def check(self) -> None:
        """Raises Unavailable. Gives up after two seconds, well before a load balancer does."""
        try:
            async with asyncio.timeout(2), connected(self._engine) as connection:
                await connection.execute(text("SELECT 1 FROM audit_event, gateway_worker LIMIT 1"))
        except TimeoutError as exc:
            raise Unavailable("The database is not available", detail="no answer within 2 s") from exc
