"""Imports into PostgreSQL: a batch is copied aside; what is not there yet is taken over together with progress and audit row."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from gatehouse.audit.chain import as_datetime
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.cores.models import CoreRecord
from gatehouse.errors import Conflict, Unavailable
from gatehouse.keys.models import KeyId
from gatehouse.keys.repository import values
from gatehouse.transfer.models import Incoming, Run
from gatehouse.verification.repository import Pool

TIMEOUT_S = 60.0


_RUN = "INSERT INTO import_run (id, source, rows, started_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"


_SHOW = "SELECT id, source, rows, done, made, kept, finished_at FROM import_run WHERE id = $1"


_PROGRESS = (
    "UPDATE import_run SET done = $2, made = made + $3, kept = kept + $4,"
    " finished_at = CASE WHEN $2 = rows THEN $5::timestamptz END WHERE id = $1 AND done = $6 RETURNING made, kept"
)


_ASIDE = "CREATE TEMPORARY TABLE incoming (LIKE api_key) ON COMMIT DROP"


_HASH = (
    "INSERT INTO foreign_hash (key_id, generation, sealed) SELECT * FROM unnest($1::text[], $2::integer[], $3::bytea[])"
    " ON CONFLICT DO NOTHING"
)


_CORE = (
    "INSERT INTO core (name, url, environment, lease_id, registered_by, pepper_generation, expires_at, draining)"
    " SELECT $1, $2, $3, $4, $5, $6, $7, false WHERE EXISTS (SELECT FROM api_key WHERE id = $5 AND state <> 'purged')"
    " ON CONFLICT DO NOTHING"
)


_LAGGING = "SELECT count(*) FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $1) AND confirmed_seq < $2"


_LOOK_S = 0.05


_JSON = ("limits", "metadata")


class PostgresImports:
    """`ports_import.Imports` on a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self, run: Run, *, now: float) -> Run:
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
                await connection.execute(_RUN, run.id, run.source, run.rows, as_datetime(now))
                row = await connection.fetchrow(_SHOW, run.id)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        if row is None:
            raise Unavailable("The import cannot be begun at the moment; try again")
        return Run(row["id"], run.source, row["rows"], row["done"], row["made"], row["kept"], row["finished_at"] is not None)

    async def existing(self, ids: list[KeyId]) -> dict[KeyId, str]:
        try:
            rows = await self._pool.fetch("SELECT id, scheme FROM api_key WHERE id = ANY($1)", ids, timeout=TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        return {KeyId(row["id"]): row["scheme"] for row in rows}

    async def known(self, *, live_s: float, timeout_s: float) -> bool:
        try:
            written = await self._pool.fetchval("SELECT coalesce(max(change_seq), 0) FROM api_key", timeout=TIMEOUT_S)
            async with asyncio.timeout(timeout_s):
                while await self._pool.fetchval(_LAGGING, live_s, written):
                    await asyncio.sleep(_LOOK_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False
        return True

    async def write(self, run: Run, keys: list[Incoming], cores: list[CoreRecord], *, done: int, event: AuditEvent) -> Run:
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection, connection.transaction():
                made = await _keys(connection, keys) if keys else 0
                for core in cores:
                    answer = await connection.execute(_CORE, *_core(core))
                    made += int(answer.rpartition(" ")[2])
                kept = len(keys) + len(cores) - made
                now = datetime.now(UTC)
                row = await connection.fetchrow(_PROGRESS, run.id, done, made, kept, now, run.done)
                if row is None:
                    raise Conflict("Another process is importing the same file; wait for it, or end it, and run this again")
                event = msgspec.structs.replace(event, details={**event.details, "made": made, "kept": kept})
                await append_event(connection, event)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        return msgspec.structs.replace(run, done=done, made=row["made"], kept=row["kept"], finished=done == run.rows)


async def _keys(connection: Any, keys: list[Incoming]) -> int:
    rows = [_row(one) for one in keys]
    columns = list(rows[0])
    names = ", ".join(columns)
    await connection.execute(_ASIDE)
    await connection.copy_records_to_table("incoming", columns=columns, records=[tuple(row.values()) for row in rows])
    taken = await connection.fetch(
        f"INSERT INTO api_key ({names}) SELECT {names} FROM incoming ON CONFLICT (id) DO NOTHING RETURNING id"  # noqa: S608
    )
    made = {row["id"] for row in taken}
    hashes = [one for one in keys if one.sealed is not None and one.key.id in made]
    if hashes:
        ids, generations = [one.key.id for one in hashes], [one.key.pepper_generation for one in hashes]
        await connection.execute(_HASH, ids, generations, [one.sealed for one in hashes])
    return len(made)


def _row(one: Incoming) -> dict[str, Any]:
    row = {"id": one.key.id, **values(one.key), "version": 1, "change_seq": 0}
    return row | {name: json.dumps(row[name], ensure_ascii=False) for name in _JSON}


def _core(core: CoreRecord) -> tuple[Any, ...]:
    ends = as_datetime(core.expires_at)
    return core.name, core.url, core.environment.value, core.lease_id, core.registered_by, core.pepper_generation, ends


def _away(exc: Exception) -> Unavailable:
    detail = f"import: {type(exc).__name__}"
    return Unavailable("The database broke off; run the same command again, it goes on where it stood", detail=detail)
