"""Stores registered Cores in PostgreSQL, keeps the in-memory table of a gateway worker, and lists Cores for the console."""

from __future__ import annotations

from typing import Any

import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.clock import to_datetime
from gatehouse.cores.models import CoreName, CoreRecord
from gatehouse.db.pool import Pool
from gatehouse.db.statements import Conditions, RowMapping
from gatehouse.errors import Conflict
from gatehouse.keys.models import KeyId

_CORE = RowMapping(CoreRecord)

#: Columns that a registration writes.
LEASE = RowMapping(CoreRecord, skip={"draining", "version"})

#: Columns that `core_record` reads.
COLUMNS = _CORE.select

WRITE_TIMEOUT_S = 5.0

# The condition is part of the write, so two keys cannot both register the same name.
_REGISTER = (
    f"{LEASE.insert('core')} ON CONFLICT (name) DO UPDATE SET draining = false,"
    f" {', '.join(f'{column} = excluded.{column}' for column in LEASE.columns)}"
    f" WHERE core.registered_by = excluded.registered_by OR core.expires_at <= ${len(LEASE.columns) + 1} OR core.draining"
    f" RETURNING {COLUMNS}"
)

_RENEW = (
    "UPDATE core SET url = CASE WHEN $4 = '' THEN url ELSE $4 END, expires_at = $5"
    f" WHERE name = $1 AND lease_id = $2 AND registered_by = $3 AND NOT draining RETURNING {COLUMNS}"
)

_DRAIN = f"UPDATE core SET draining = true WHERE name = $1 AND lease_id = $2 AND registered_by = $3 RETURNING {COLUMNS}"
_END = "UPDATE core SET draining = true WHERE name = $1 AND NOT draining AND expires_at > now() RETURNING registered_by"
core_record = _CORE.read


class CoreRegistry:
    """Cores that are known to a gateway worker. Reads are served from memory, which the change feed keeps current.

    Writes raise Unavailable, after which the agent retries.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._cores: dict[str, CoreRecord] = {}

    def __len__(self) -> int:
        return len(self._cores)

    def find(self, name: str) -> CoreRecord | None:
        """The Core, even if its lease has expired."""
        return self._cores.get(name)

    def change(self, record: CoreRecord) -> None:
        """Applies a committed row, unless a newer version is known."""
        current = self._cores.get(record.name)
        if current is None or record.version >= current.version:
            self._cores[record.name] = record

    def clear(self) -> None:
        self._cores.clear()

    async def register(self, record: CoreRecord, *, now: float, event: AuditEvent) -> CoreRecord:
        """Registers the Core under a new lease. Raises Conflict if another key has a live lease on the name."""
        registered = await self._write(event, _REGISTER, *LEASE.values(record).values(), to_datetime(now))
        if registered is None:
            raise Conflict(
                f"Another key has a live lease on the name {record.name}; choose another name or wait until the lease expires."
            )
        return registered

    async def renew(self, record: CoreRecord, *, event: AuditEvent | None) -> CoreRecord | None:
        """Extends the lease and, unless the URL in `record` is empty, changes the URL. None if the key does not have this lease
        on the name.

        `event` is None for a heartbeat, which only extends the lease.
        """
        expires_at = to_datetime(record.expires_at)
        return await self._write(event, _RENEW, record.name, record.lease_id, record.registered_by, record.url, expires_at)

    async def drain(self, name: str, lease_id: str, *, registered_by: KeyId, event: AuditEvent) -> bool:
        """Marks the Core as draining. Returns False if the key does not have this lease on the name."""
        return await self._write(event, _DRAIN, name, lease_id, registered_by) is not None

    async def _write(self, event: AuditEvent | None, statement: str, *values: Any) -> CoreRecord | None:
        """Executes a write and applies the written row to the table in memory. None if the statement wrote no row."""
        async with self._pool.transaction(timeout_s=WRITE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(statement, *values)
            if row is None:
                return None
            if event is not None:
                await append(connection, event)
        record = core_record(row)
        self.change(record)
        return record


class CoreRepository:
    """Lists Cores and ends registrations for the management API."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, *, after: CoreName | None, size: int) -> tuple[tuple[CoreRecord, ...], CoreName | None]:
        """Cores, ordered by name, and the name of the last Core, or None on the last page. Raises Unavailable."""
        where = Conditions()
        if after is not None:
            where.add("name > {}", after)
        statement = f"SELECT {COLUMNS} FROM core{where} ORDER BY name LIMIT {where.bind(size + 1)}"
        rows = await self._pool.fetch(statement, *where.values)
        cores = tuple(core_record(row) for row in rows[:size])
        return cores, cores[-1].name if len(rows) > size else None

    async def end(self, name: CoreName, event: AuditEvent) -> bool:
        """Ends the registration of a Core. Returns False if the Core is not registered. Raises Unavailable."""
        async with self._pool.transaction(timeout_s=WRITE_TIMEOUT_S) as connection:
            registered_by = await connection.fetchval(_END, name)
            if registered_by is None:
                return False
            await append(connection, msgspec.structs.replace(event, details={"registered_by": registered_by}))
        return True
