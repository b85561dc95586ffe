"""Types and PostgreSQL queries for imports, exports and the queue of legacy file updates."""

import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping

import asyncpg
import msgspec

from gatehouse.core.audit_events import AuditAction, AuditEvent
from gatehouse.core.cores import CoreRecord
from gatehouse.core.customers import stored
from gatehouse.core.errors import BadRequest, Unavailable
from gatehouse.core.keys import Key, KeyId
from gatehouse.features.cores.repository import LEASE, LOCK_CHANGES, LOCK_KEYS
from gatehouse.features.keys.repository import (
    WRITTEN,
    KeyRepository,
    add_customers,
    unknown_reference,
)
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Connection, Pool, row_count
from gatehouse.platform.db.statements import placeholders

#: Timeout for a connection and for a statement. The timeout is long, because an import reads and
#: writes thousands of rows at a time.
TIMEOUT_S = 60.0

#: Number of rows that an export reads at a time.
EXPORT_ROWS = 1000

#: Maximum number of keys that are removed from the legacy files in one transaction.
REMOVALS_MAX = 500

#: Tables in an export, in the order in which they are restored, with the condition under which a
#: row is restored. Rows of purged keys and customers are not restored.
TABLES = {
    "plan": "true",
    "named_limit": "true",
    "customer": (
        "NOT EXISTS (SELECT FROM audit_event WHERE target_id = line.id "
        f"AND action = '{AuditAction.CUSTOMER_PURGE}' AND occurred_at >= line.created_at)"
    ),
    "api_key": "true",
    "key_credit": (
        "EXISTS (SELECT FROM api_key WHERE family_id = line.family_id AND state <> 'purged') "
        "OR EXISTS (SELECT FROM customer WHERE line.family_id = '@' || id)"
    ),
}

_RESTORE = (
    "INSERT INTO {table} SELECT line.* FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb) "
    "AS line WHERE {condition} ON CONFLICT DO NOTHING"
)

_INCOMING = "CREATE TEMPORARY TABLE incoming (LIKE api_key INCLUDING DEFAULTS) ON COMMIT DROP"

_EXISTING = "SELECT id FROM api_key WHERE id = ANY ($1)"

_ADD_KEYS = (
    f"INSERT INTO api_key ({WRITTEN.select}) SELECT {WRITTEN.select} FROM incoming "
    "ON CONFLICT (id) DO NOTHING RETURNING id"
)

_ADD_CORE = (
    f"INSERT INTO core ({LEASE.select}) SELECT {placeholders(len(LEASE.columns))} WHERE EXISTS "
    "(SELECT FROM api_key "
    f"WHERE id = ${LEASE.columns.index('registered_by') + 1} AND state = 'active') AND NOT EXISTS "
    f"(SELECT FROM core WHERE name = ${LEASE.columns.index('name') + 1}) ON CONFLICT DO NOTHING"
)


class ImportRepository:
    """Stores batches of imported keys and Cores. Methods raise Unavailable."""

    def __init__(self, pool: Pool, keys: KeyRepository) -> None:
        self._pool = pool
        self._keys = keys

    async def plans(self) -> frozenset[str]:
        """Names of the plans."""
        rows = await self._pool.fetch("SELECT name FROM plan", timeout_s=TIMEOUT_S)
        return frozenset(row[0] for row in rows)

    async def is_confirmed(self, *, timeout_s: float) -> bool:
        """Returns True when every live gateway worker has read the written rows, or False after
        `timeout_s`.
        """
        try:
            newest = await self._pool.fetchval("SELECT seq FROM last_change", timeout_s=TIMEOUT_S)
        except Unavailable:
            return False
        return await self._keys.effective(newest, timeout_s=timeout_s) == "everywhere"

    async def write(
        self,
        rows: list[Key | CoreRecord],
        event: AuditEvent,
        other_ids: Mapping[KeyId, KeyId],
        customers: Mapping[str, str],
    ) -> int:
        """Inserts rows that do not exist and appends the event, in one transaction. Returns the
        number of inserted rows.

        other_ids: further IDs under which keys of the rows may exist, with their IDs in the rows.
        customers: names of the customers by ID. Raises BadRequest if a plan does not exist.
        """
        async with self._pool.transaction(timeout_s=TIMEOUT_S) as connection:
            found = await connection.fetch(_EXISTING, list(other_ids), timeout=TIMEOUT_S)
            existing = {other_ids[id]: id for (id,) in found}
            keys = [row for row in rows if isinstance(row, Key) and row.id not in existing]
            cores = [
                msgspec.structs.replace(
                    row, registered_by=existing.get(row.registered_by, row.registered_by)
                )
                for row in rows
                if isinstance(row, CoreRecord)
            ]
            # Before `_add_keys` takes the lock of the change trigger.
            await connection.execute(LOCK_KEYS, [core.registered_by for core in cores])
            named = {key.customer_id: customers[key.customer_id] for key in keys if key.customer_id}
            await add_customers(connection, named, event)
            imported = await _add_keys(connection, keys) if keys else 0
            imported += await _add_cores(connection, cores) if cores else 0
            counts = {"imported": imported, "existing": len(rows) - imported}
            await append(
                connection, msgspec.structs.replace(event, details={**event.details, **counts})
            )
        return imported


async def _add_keys(connection: Connection, keys: list[Key]) -> int:
    await connection.execute(_INCOMING)
    records = [(*WRITTEN.values(stored(key)), 1, 0) for key in keys]
    columns = (*WRITTEN.columns, "version", "change_seq")
    await connection.copy_records_to_table(
        "incoming", columns=columns, records=records, timeout=TIMEOUT_S
    )
    try:
        return len(await connection.fetch(_ADD_KEYS, timeout=TIMEOUT_S))
    except asyncpg.ForeignKeyViolationError as exc:
        raise unknown_reference(exc) from exc


async def _add_cores(connection: Connection, cores: list[CoreRecord]) -> int:
    """Inserts Cores whose names are free and whose keys are active. Returns their number."""
    await connection.execute(LOCK_CHANGES)
    return sum(
        [row_count(await connection.execute(_ADD_CORE, *LEASE.values(core))) for core in cores]
    )


class ExportRepository:
    """Reads and restores the tables of keys as JSON lines. Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def lines(self, event: AuditEvent) -> AsyncIterator[tuple[bytes, int]]:
        """Batches of (lines, number of lines) from one snapshot. The event is appended first, so
        every export is recorded.
        """
        async with self._pool.transaction(timeout_s=TIMEOUT_S) as connection:
            await append(connection, event)
        async with self._pool.transaction(
            timeout_s=TIMEOUT_S, snapshot=True, readonly=True
        ) as connection:
            for table in TABLES:
                cursor = await connection.cursor(
                    f"SELECT json_build_object('{table}', to_json(line))::text FROM {table} AS line"
                )
                while rows := await cursor.fetch(EXPORT_ROWS):
                    yield b"".join(row[0].encode() + b"\n" for row in rows), len(rows)

    async def restore(self, lines: list[bytes], event: AuditEvent) -> dict[str, tuple[int, int]]:
        """Inserts rows that do not exist and appends the event, in one transaction, for which other
        changes of keys and Cores wait. Returns (inserted, skipped) for each table. Raises
        BadRequest if a row does not match the schema.
        """
        counts = dict.fromkeys(TABLES, (0, 0))
        async with self._pool.transaction(timeout_s=TIMEOUT_S) as connection:
            try:
                for table, rows in _batches(lines):
                    statement = _RESTORE.format(table=table, condition=TABLES[table])
                    status = await connection.execute(
                        statement, json.dumps(rows), timeout=TIMEOUT_S
                    )
                    inserted, before = row_count(status), counts[table]
                    counts[table] = before[0] + inserted, before[1] + len(rows) - inserted
            except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as exc:
                reason = type(exc).__name__
                raise BadRequest(
                    f"the export does not match the schema of this version ({reason}); nothing was "
                    "written"
                ) from exc
            await append(connection, event)
        return counts


def _batches(lines: list[bytes]) -> Iterator[tuple[str, list[object]]]:
    """The names of the tables, and rows of EXPORT_ROWS lines."""
    for start in range(0, len(lines), EXPORT_ROWS):
        tables: dict[str, list[object]] = {}
        for line in lines[start : start + EXPORT_ROWS]:
            for table, row in json.loads(line).items():
                if table not in TABLES:
                    raise BadRequest(
                        f"the export has the table {table[:40]}, which this version does not know; "
                        f"nothing was written"
                    )
                tables.setdefault(table, []).append(row)
        yield from tables.items()


class RemovalRepository:
    """Queue of purged keys that are to be removed from the legacy files. A trigger adds a key to
    the queue in the transaction of the purge."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def queued(self) -> frozenset[KeyId]:
        """At most REMOVALS_MAX of the queued keys, the oldest first."""
        statement = "SELECT key_id FROM legacy_file_removal ORDER BY queued_at LIMIT $1"
        return frozenset(row[0] for row in await self._pool.fetch(statement, REMOVALS_MAX))

    async def done(self, key_ids: Collection[KeyId], event: Callable[[KeyId], AuditEvent]) -> int:
        """Removes keys from the queue and appends the event of each key that is still in the queue.
        Returns their number.
        """
        statement = "DELETE FROM legacy_file_removal WHERE key_id = ANY ($1) RETURNING key_id"
        async with self._pool.transaction() as connection:
            rows = await connection.fetch(statement, list(key_ids))
            for row in rows:
                await append(connection, event(row[0]))
        return len(rows)
