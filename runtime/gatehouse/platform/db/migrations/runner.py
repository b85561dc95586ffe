"""Migrates the database schema to the latest revision, one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gatehouse.core.errors import Conflict, GatehouseError, Unavailable
from gatehouse.platform.db.pool import DatabaseLogin, explain

#: Advisory lock of a running migration. Concurrent migrations wait for the lock and then have
#: nothing left to do.
LOCK = 7126500
LOCK_TIMEOUT_S = 60
#: Long enough to rewrite a table. A migration that is blocked for longer fails with a message.
STATEMENT_TIMEOUT_S = 900.0
BASE = "base"


@dataclass(frozen=True, slots=True)
class Step:
    revision: str
    title: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run. `pending`: revisions that have not been applied to the database."""

    steps: tuple[Step, ...]
    revision: str
    pending: tuple[str, ...]


async def migrate(login: DatabaseLogin) -> Outcome:
    """Migrate to the latest revision. Raises Unavailable, and Conflict if the database is at an
    unknown revision.
    """
    return await _with_connection(login, _migrate)


async def status(login: DatabaseLogin) -> Outcome:
    """Revision of the database. Changes nothing. Raises Unavailable."""
    return await _with_connection(login, lambda connection: _outcome(connection, ()))


def execute_script(statements: str) -> None:
    """Execute several statements in the transaction of the migration.

    SQLAlchemy prepares the statements that it executes, and PostgreSQL can prepare only one
    statement at a time. asyncpg's `execute` without arguments sends the text unchanged. The
    function executes a SELECT first, because SQLAlchemy opens the transaction with its first
    statement.
    """
    bind = op.get_bind()
    bind.exec_driver_sql("SELECT 1")
    driver: Any = bind.connection.dbapi_connection
    driver.run_async(lambda connection: connection.execute(statements))


async def _with_connection(login: DatabaseLogin, work: Callable[[Connection], Outcome]) -> Outcome:
    arguments = {**login.arguments(), "command_timeout": STATEMENT_TIMEOUT_S}
    arguments["server_settings"] = {"application_name": "gatehouse migrate"}

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        connection: asyncpg.Connection[asyncpg.Record]
        try:
            connection = await asyncpg.connect(**arguments)
        except asyncpg.InvalidAuthorizationSpecificationError:
            if login.second_password is None:
                raise
            connection = await asyncpg.connect(**{**arguments, "password": login.second_password})
        return connection

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True
    )
    try:
        async with engine.connect() as connection:
            await _lock(connection)
            return await connection.run_sync(work)
    except GatehouseError:
        raise
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        DBAPIError,
        OSError,
        TimeoutError,
    ) as exc:
        raise Unavailable(_explain(exc, login)) from exc
    finally:
        await engine.dispose()


async def _lock(connection: AsyncConnection) -> None:
    await connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
    await connection.execute(text("SET lock_timeout = 0"))
    await connection.commit()


def _migrate(connection: Connection) -> Outcome:
    current = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    if current is not None and current not in _ancestors(_scripts(), current):
        raise Conflict(
            f"the database is at revision {current}, which this version of Gatehouse does not "
            f"know: use a newer version"
        )
    steps: list[Step] = []
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    config.attributes["on_version_apply"] = _recorder(steps)
    command.upgrade(config, "head")
    return _outcome(connection, tuple(steps))


def _outcome(connection: Connection, steps: tuple[Step, ...]) -> Outcome:
    current = MigrationContext.configure(connection).get_current_revision()
    done = _ancestors(_scripts(), current)
    pending = tuple(
        script.revision for script in _scripts().walk_revisions() if script.revision not in done
    )
    return Outcome(steps=steps, revision=current or BASE, pending=pending[::-1])


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))


def _ancestors(scripts: ScriptDirectory, revision: str | None) -> set[str]:
    """The revision, all earlier revisions, and `base`. For an unknown revision, only `base`."""
    try:
        return {
            BASE,
            *(script.revision for script in scripts.walk_revisions(BASE, revision or BASE)),
        }
    except CommandError:
        return {BASE}


def _recorder(steps: list[Step]) -> Callable[..., None]:
    def record(*, step: Any, **_: Any) -> None:
        script = step.up_revision
        steps.append(Step(script.revision, script.doc))

    return record


def _explain(exc: Exception, login: DatabaseLogin) -> str:
    """One line that states what to check. Driver messages that could contain a value are
    omitted.
    """
    cause = getattr(exc, "orig", None) or exc
    cause = getattr(cause, "__cause__", None) or cause
    if isinstance(cause, asyncpg.LockNotAvailableError):
        return (
            f"another migration has been running for {LOCK_TIMEOUT_S} s: wait for it, or "
            f"stop it, and try again"
        )
    if isinstance(cause, asyncpg.InsufficientPrivilegeError):
        return (
            f"{login.user} is not allowed to change the schema: run migrations as the owner "
            f"of the database"
        )
    if isinstance(cause, asyncpg.PostgresError) and not isinstance(
        cause, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError
    ):
        return (
            f"PostgreSQL at {login.address} rejected a statement of the migration: "
            f"{type(cause).__name__}: {cause}"
        )
    return explain(cause, login)
