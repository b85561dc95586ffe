"""The registry of keys as lines of JSON, out of the database in one snapshot and back into it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.errors import BadRequest, Unavailable
from gatehouse.verification.repository import Pool

#: Whose rows are the registry, in the order in which they can be put back.
TABLES = ("api_key", "key_credit", "foreign_hash")


ROWS = 1000


TIMEOUT_S = 60.0


class PostgresRegistry:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def lines(self, event: AuditEvent) -> AsyncIterator[tuple[bytes, int]]:
        """(lines, rows) at a time, all of one moment; the event is written first, so that no copy leaves unseen."""
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
                async with connection.transaction():
                    await append_event(connection, event)
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    for table in TABLES:
                        query = f"SELECT json_build_object('{table}', to_json(kept))::text FROM {table} AS kept"  # noqa: S608
                        cursor = await connection.cursor(query)
                        while rows := await cursor.fetch(ROWS):
                            yield b"".join(row[0].encode() + b"\n" for row in rows), len(rows)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise Unavailable("The registry cannot be read at the moment", detail=f"export: {type(exc).__name__}") from exc

    async def restore(self, batches: list[bytes], event: AuditEvent) -> dict[str, tuple[int, int]]:
        """Puts back what is not there, in one transaction: (put back, left as it is) for each table."""
        counts = dict.fromkeys(TABLES, (0, 0))
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection, connection.transaction():
                for batch in batches:
                    for table, rows in _by_table(batch).items():
                        answer = await connection.execute(
                            f"INSERT INTO {table} SELECT kept.* FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb) AS kept"  # noqa: S608
                            f"{'' if table == 'api_key' else _ONLY_WITH_KEY[table]} ON CONFLICT DO NOTHING",
                            json.dumps(rows),
                            timeout=TIMEOUT_S,
                        )
                        made, kept = counts[table]
                        new = int(answer.rpartition(" ")[2])
                        counts[table] = (made + new, kept + len(rows) - new)
                await append_event(connection, event)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.UndefinedColumnError) as exc:
            raise BadRequest(
                f"the registry does not fit this version's schema ({type(exc).__name__}); nothing was written"
            ) from exc
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise Unavailable("The registry cannot be written; nothing was", detail=f"restore: {type(exc).__name__}") from exc
        return counts


#: A purged key gets nothing back.
_ONLY_WITH_KEY = {
    "key_credit": " WHERE EXISTS (SELECT FROM api_key WHERE family_id = kept.family_id AND state <> 'purged')",
    "foreign_hash": " WHERE EXISTS (SELECT FROM api_key WHERE id = kept.key_id AND state <> 'purged'"
    " AND digest = decode(repeat('00', 32), 'hex'))",
}


def _by_table(lines: bytes) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for line in lines.splitlines():
        for table, row in json.loads(line).items():
            if table not in TABLES:
                raise BadRequest(f"the registry holds {table[:40]}, which this version does not know; nothing was written")
            found.setdefault(table, []).append(row)
    return found
