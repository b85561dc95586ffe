"""Registered Cores: a table in every worker's memory that follows the database, and the conditional writes of leases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.cores.models import CoreName, CoreRecord
from gatehouse.errors import Conflict, Unavailable
from gatehouse.keys.models import KeyEnvironment, KeyId
from gatehouse.verification.repository import Pool

COLUMNS = "name, url, environment, lease_id, registered_by, pepper_generation, expires_at, draining, version"


WRITE_TIMEOUT_S = 5.0


def core_record(row: asyncpg.Record) -> CoreRecord:
    """A row with COLUMNS."""
    return CoreRecord(
        name=CoreName(row["name"]),
        url=row["url"],
        environment=KeyEnvironment(row["environment"]),
        lease_id=row["lease_id"],
        registered_by=KeyId(row["registered_by"]),
        pepper_generation=row["pepper_generation"],
        expires_at=row["expires_at"].timestamp(),
        draining=row["draining"],
        version=row["version"],
    )


class PostgresCores:
    """The Cores port. `change` and `clear` are called by the follower of changes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._table: dict[str, CoreRecord] = {}

    def __len__(self) -> int:
        return len(self._table)

    def find(self, name: str) -> CoreRecord | None:
        return self._table.get(name)

    def change(self, record: CoreRecord) -> None:
        """A committed row; an older version never replaces a newer one."""
        held = self._table.get(record.name)
        if held is None or record.version >= held.version:
            self._table[record.name] = record

    def clear(self) -> None:
        self._table.clear()

    async def register(self, record: CoreRecord, *, now: float, event: AuditEvent) -> CoreRecord:
        """See the port. The condition is part of the write, so two keys that want one name at once cannot both get it."""
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                "INSERT INTO core (name, url, environment, lease_id, registered_by, pepper_generation, expires_at, draining)"  # noqa: S608
                " VALUES ($1, $2, $3, $4, $5, $6, $7, false)"
                " ON CONFLICT (name) DO UPDATE SET url = excluded.url, environment = excluded.environment,"
                " lease_id = excluded.lease_id, registered_by = excluded.registered_by,"
                " pepper_generation = excluded.pepper_generation, expires_at = excluded.expires_at, draining = false"
                " WHERE core.registered_by = excluded.registered_by OR core.expires_at <= $8 OR core.draining"
                f" RETURNING {COLUMNS}",
                record.name,
                record.url,
                record.environment.value,
                record.lease_id,
                record.registered_by,
                record.pepper_generation,
                _instant(record.expires_at),
                _instant(now),
            )
            if row is None:
                raise Conflict(f"Another key holds a live lease on the name {record.name}; choose another or wait until it ends")
            await append_event(connection, event)
        return self._kept(row)

    async def renew(self, record: CoreRecord, *, event: AuditEvent | None) -> CoreRecord | None:
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                "UPDATE core SET url = CASE WHEN $4 = '' THEN url ELSE $4 END, expires_at = $5"  # noqa: S608
                " WHERE name = $1 AND lease_id = $2 AND registered_by = $3 AND NOT draining"
                f" RETURNING {COLUMNS}",
                record.name,
                record.lease_id,
                record.registered_by,
                record.url,
                _instant(record.expires_at),
            )
            if row is None:
                return None
            if event is not None:
                await append_event(connection, event)
        return self._kept(row)

    async def drain(self, name: str, lease_id: str, *, registered_by: KeyId, event: AuditEvent) -> bool:
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                f"UPDATE core SET draining = true WHERE name = $1 AND lease_id = $2 AND registered_by = $3 RETURNING {COLUMNS}",  # noqa: S608
                name,
                lease_id,
                registered_by,
            )
            if row is None:
                return False
            await append_event(connection, event)
        self._kept(row)
        return True

    def _kept(self, row: asyncpg.Record) -> CoreRecord:
        record = core_record(row)
        self.change(record)
        return record

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        # Timeout WRITE_TIMEOUT_S, failure side closed: the agent is told to try again.
        try:
            async with self._pool.acquire(timeout=WRITE_TIMEOUT_S) as connection, connection.transaction():
                yield connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            detail = f"core write: {type(exc).__name__}"
            raise Unavailable("The registration cannot be stored at the moment", detail=detail) from exc


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
