"""Keeps the files of an older deployment in step while they are still in use: what was purged here is removed there.

A file is written only if it is still the one that was read (its entity tag), so a change that somebody else makes at the same
moment is never lost: the file is read anew, several times in a turn, and by later turns for as long as it takes.

Removals from old files that wait, in PostgreSQL; a trigger queues them in the transaction of the purge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper
from gatehouse.db.engine import transaction
from gatehouse.errors import Conflict, GatehouseError, NotFound, Unavailable
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor
from gatehouse.keys.models import KeyId
from gatehouse.transfer.legacy_files import Entry, MalformedFile, without
from gatehouse.transfer.models import LegacyFileStore, Removal, Removals
from gatehouse.verification import imported_tokens

REMOVED, FAILED = "key.old-files-removed", "key.old-files-failed"


BATCH = 500


#: A turn that died is taken up by another after this time.
HOLD_S = 120.0


#: In one turn, when somebody else writes the same file.
RACES_MAX = 5


AGAIN_S, AGAIN_S_MAX = 10.0, 3600.0


class LegacyFileSync:
    """`places`: s3://bucket/key or paths. places_of: all that the ids of an entry may be derived from (wire/imports.py)."""

    def __init__(
        self,
        removals: Removals,
        files: LegacyFileStore,
        places: tuple[str, ...],
        clock: Clock,
        pepper: Pepper,
        places_of: Callable[[Entry], set[str]],
    ) -> None:
        self._removals = removals
        self._files = files
        self._places = places
        self._clock = clock
        self._pepper = pepper
        self._places_of = places_of

    async def turn(self) -> int:
        """Removes what is due; how many keys. Raises Unavailable after a failure was kept for the next turn."""
        due = await self._removals.due(size=BATCH, hold_s=HOLD_S)
        if not due:
            return 0
        gone = {one.key_id for one in due}
        removed: dict[str, int] = {}
        try:
            for place in self._places:
                removed[place] = await self._remove(place, gone)
        except (GatehouseError, MalformedFile) as exc:
            await self._fail(due, place, exc)
        details = [f"{place}: {count}" for place, count in removed.items()]
        await self._removals.done(due, [self._event(one, REMOVED, files=details) for one in due])
        return len(due)

    async def _remove(self, place: str, gone: set[KeyId]) -> int:
        for attempt in range(RACES_MAX):
            try:
                content, tag = await asyncio.to_thread(self._files.read, place)
            except NotFound:
                return 0
            # In a thread: an HMAC for each entry, and a file may have a hundred thousand.
            text, count = await asyncio.to_thread(
                without, content.decode("utf-8", "replace"), lambda one: self._is_gone(one, gone)
            )
            if not count:
                return 0
            if "\N{REPLACEMENT CHARACTER}" in text:
                raise Unavailable(detail=f"{place} is no UTF-8")
            try:
                await asyncio.to_thread(
                    self._files.write, place, text.encode(), only_if=tag or None, content_type="application/json"
                )
                return count
            except Conflict:
                if attempt + 1 == RACES_MAX:
                    raise
        return 0

    def _is_gone(self, entry: Entry, gone: set[KeyId]) -> bool:
        return not gone.isdisjoint(imported_tokens.ids_of(self._places_of(entry), self._pepper))

    async def _fail(self, due: tuple[Removal, ...], place: str, exc: GatehouseError | MalformedFile) -> None:
        problem = f"{place}, line {exc.line}: {exc.message}" if isinstance(exc, MalformedFile) else exc.detail or exc.public
        again_s = min(AGAIN_S * 2 ** min(one.attempts for one in due), AGAIN_S_MAX)
        # The first failure of a key is in the trail; that it goes on failing, in the log and the metric of the chore.
        events = [self._event(one, FAILED, outcome="denied", problem=problem) for one in due if not one.attempts]
        await self._removals.failed(due, problem=problem, again_s=again_s, events=events)
        raise Unavailable("Old files are not in step", detail=f"{len(due)} purged keys still stand in a file: {problem}")

    def _event(self, one: Removal, action: str, *, outcome: str = "success", **details: str | list[str]) -> AuditEvent:
        actor = Actor(type="system", id="console", request_id=RequestId(""), source_address="")
        return actor.did(
            action,
            target_type="key",
            target_id=one.key_id,
            at=self._clock.now(),
            details={**details},
            outcome="denied" if outcome == "denied" else "success",
        )


_TAKE = text(
    "UPDATE old_file_removal SET next_at = now() + make_interval(secs => :hold_s) WHERE key_id IN ("
    " SELECT key_id FROM old_file_removal WHERE next_at <= now() ORDER BY next_at LIMIT :size FOR UPDATE SKIP LOCKED)"
    " RETURNING key_id, attempts"
)


_DONE = text("DELETE FROM old_file_removal WHERE key_id = ANY(CAST(:ids AS text[]))")


_FAILED = text(
    "UPDATE old_file_removal SET attempts = attempts + 1, problem = :problem, next_at = now() + make_interval(secs => :again_s)"
    " WHERE key_id = ANY(CAST(:ids AS text[]))"
)


class PostgresRemovals:
    """`ports_oldfiles.Removals` on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def due(self, *, size: int, hold_s: float) -> tuple[Removal, ...]:
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(_TAKE, {"size": size, "hold_s": hold_s})).all()
        return tuple(Removal(KeyId(row.key_id), row.attempts) for row in rows)

    async def done(self, removals: tuple[Removal, ...], events: list[AuditEvent]) -> None:
        async with transaction(self._engine) as connection:
            await connection.execute(_DONE, {"ids": [one.key_id for one in removals]})
            await _append(connection, events)

    async def failed(self, removals: tuple[Removal, ...], *, problem: str, again_s: float, events: list[AuditEvent]) -> None:
        async with transaction(self._engine) as connection:
            ids = [one.key_id for one in removals]
            await connection.execute(_FAILED, {"ids": ids, "problem": problem, "again_s": again_s})
            await _append(connection, events)


async def _append(connection: AsyncConnection, events: list[AuditEvent]) -> None:
    for event in events:
        await append(connection, event)
