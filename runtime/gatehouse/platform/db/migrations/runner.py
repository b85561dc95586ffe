"""Migrates the database schema to the latest revision, one process at a time.

A revision is a file in `versions`, named after its number. Its first line is a comment with its
title. The table `schema_revision` contains the applied revisions.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from gatehouse.core.errors import Unavailable
from gatehouse.platform.db.deployment import Facts, check_schema
from gatehouse.platform.db.deployment import revisions as files
from gatehouse.platform.db.pool import DRIVER_ERRORS, DatabaseLogin, explain

#: Advisory lock of a running migration. Concurrent migrations wait for the lock and then have
#: nothing left to do.
LOCK = 7126500
LOCK_TIMEOUT_S = 60
#: Long enough to rewrite a table. A migration that is blocked for longer fails with a message.
STATEMENT_TIMEOUT_S = 900.0
BASE = "base"

_Connection = Any  # asyncpg has no types


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


async def migrate(login: DatabaseLogin, facts: Facts | None = None, replaced: str = "") -> Outcome:
    """Migrate to the latest revision. A database of a newer version that supports this one is not
    changed, because the schema is not rolled back with the image. Raises Unavailable, and
    SettingsError if the database is that of another deployment or does not support this version.

    facts: the facts to compare and to record. replaced: deployment whose facts are deleted.
    """
    steps, revisions = [], files()
    async with _locked_connection(login) as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_revision (revision text PRIMARY KEY)"
        )
        applied = await _applied(connection)
        if applied - revisions.keys():
            await check_schema(connection)
            return await _outcome(connection)
        if facts is not None:
            await facts.replace(connection, replaced)
        for revision in sorted(revisions.keys() - applied):
            statements = revisions[revision].read_text("utf-8")
            async with connection.transaction():
                await connection.execute(statements)
                await connection.execute("INSERT INTO schema_revision VALUES ($1)", revision)
            steps.append(Step(revision, statements.partition("\n")[0].strip("- ")))
        if facts is not None:
            await facts.confirm(connection)
        return await _outcome(connection, *steps)


async def status(login: DatabaseLogin) -> Outcome:
    """Revision of the database. Changes nothing. Raises Unavailable."""
    async with _locked_connection(login) as connection:
        return await _outcome(connection)


async def _applied(connection: _Connection) -> set[str]:
    if await connection.fetchval("SELECT to_regclass('schema_revision')") is None:
        return set()
    return {row["revision"] for row in await connection.fetch("TABLE schema_revision")}


async def _outcome(connection: _Connection, *steps: Step) -> Outcome:
    applied = await _applied(connection)
    pending = sorted(files().keys() - applied)
    return Outcome(steps, max(applied, default=BASE), tuple(pending))


@asynccontextmanager
async def owner_connection(login: DatabaseLogin) -> AsyncIterator[_Connection]:
    """A connection of the owner, with the password or the IAM token. Raises Unavailable."""
    arguments = {**login.arguments(), "command_timeout": STATEMENT_TIMEOUT_S}
    arguments["server_settings"] = {"application_name": "gatehouse migrate"}
    try:
        try:
            connection = await asyncpg.connect(**arguments)
        except asyncpg.InvalidAuthorizationSpecificationError:
            if login.second_password is None:
                raise
            connection = await asyncpg.connect(**{**arguments, "password": login.second_password})
        try:
            yield connection
        finally:
            await connection.close(timeout=login.connect_s)
    except DRIVER_ERRORS as exc:
        raise Unavailable(_explain(exc, login)) from exc


@asynccontextmanager
async def _locked_connection(login: DatabaseLogin) -> AsyncIterator[_Connection]:
    async with owner_connection(login) as connection:
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute("SET lock_timeout = 0")
        yield connection


def _explain(exc: BaseException, login: DatabaseLogin) -> str:
    """One line that states what to check. Driver messages that could contain a value are
    omitted.
    """
    match exc:
        case asyncpg.LockNotAvailableError():
            return (
                f"another migration has been running for {LOCK_TIMEOUT_S} s: wait for it, or "
                f"stop it, and try again"
            )
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"{login.user} is not allowed to change the schema: run migrations as the owner "
                f"of the database"
            )
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError():
            return explain(exc, login)
        case asyncpg.PostgresError():
            return (
                f"PostgreSQL at {login.address} rejected a statement of the migration: "
                f"{type(exc).__name__}: {exc}"
            )
    return explain(exc, login)
