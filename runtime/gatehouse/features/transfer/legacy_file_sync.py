"""Removes purged keys from legacy files that other systems still use.

A file is written only if its entity tag is unchanged since it was read, so a concurrent change by
another writer is not lost. Otherwise, the file is read again and the update is retried, several
times in the same run and then in later runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details, Outcome
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Conflict, GatehouseError, NotFound, Unavailable
from gatehouse.core.imported_tokens import ids_of
from gatehouse.core.keys import KeyId
from gatehouse.core.token import Pepper
from gatehouse.features.transfer.file_formats import Entry, MalformedFile, without
from gatehouse.features.transfer.repository import Removal, RemovalRepository
from gatehouse.features.transfer.schemas import materials_of
from gatehouse.platform.aws import object_storage

BATCH_SIZE = 500

#: Time after which another run takes over the removals of a run whose process was killed.
HOLD_S = 120.0

#: Maximum number of attempts in one run if another writer changes the same file.
ATTEMPTS_MAX = 5

#: Interval before the next attempt after a failure. The interval doubles with each failure.
RETRY_MIN_S, RETRY_MAX_S = 10.0, 3600.0


@dataclass(frozen=True, slots=True)
class LegacyFileSync:
    """Removes purged keys from the legacy files.

    locations: s3://bucket/key or paths.
    read: returns the content and the entity tag of a location.
    """

    removals: RemovalRepository
    locations: tuple[str, ...]
    clock: Clock
    pepper: Pepper
    read: Callable[[str], tuple[bytes, str]] = object_storage.read

    async def run_once(self) -> int:
        """Removes purged keys that are due and returns their number. Raises Unavailable after
        recording a failure.
        """
        due = await self.removals.due(size=BATCH_SIZE, hold_s=HOLD_S)
        if not due:
            return 0
        purged = {removal.key_id for removal in due}
        removed: dict[str, int] = {}
        try:
            for location in self.locations:
                removed[location] = await self._remove(location, purged)
        except (GatehouseError, MalformedFile) as exc:
            await self._fail(due, location, exc)
        files = [f"{location}: {count}" for location, count in removed.items()]
        events = [
            self._event(removal, AuditAction.KEY_LEGACY_FILES_REMOVED, {"files": files})
            for removal in due
        ]
        await self.removals.done(due, events)
        return len(due)

    async def _remove(self, location: str, purged: set[KeyId]) -> int:
        """Removes the entries of purged keys from a file and returns their number. Raises
        MalformedFile, Conflict, Unavailable."""
        for attempt in range(ATTEMPTS_MAX):
            try:
                content, tag = await asyncio.to_thread(self.read, location)
            except NotFound:
                return 0
            # Run in a thread, because each entry requires an HMAC and a file can have 100,000
            # entries.
            text, count = await asyncio.to_thread(
                without,
                content.decode("utf-8", "replace"),
                lambda entry: self._is_purged(entry, purged),
            )
            if not count:
                return 0
            if "\N{REPLACEMENT CHARACTER}" in text:
                raise Unavailable(detail=f"{location} is not valid UTF-8")
            try:
                await asyncio.to_thread(
                    object_storage.write,
                    location,
                    text.encode(),
                    only_if=tag or None,
                    content_type="application/json",
                )
                return count
            except Conflict:
                if attempt + 1 == ATTEMPTS_MAX:
                    raise
        return 0

    def _is_purged(self, entry: Entry, purged: set[KeyId]) -> bool:
        return not purged.isdisjoint(ids_of(materials_of(entry), self.pepper))

    async def _fail(
        self, due: tuple[Removal, ...], location: str, exc: GatehouseError | MalformedFile
    ) -> None:
        problem = (
            f"{location} {exc}" if isinstance(exc, MalformedFile) else exc.detail or exc.public
        )
        retry_s = min(RETRY_MIN_S * 2 ** min(removal.attempts for removal in due), RETRY_MAX_S)
        # The first failure for a key is recorded in the audit trail. Later failures are recorded
        # only in the job's log and metric.
        events = [
            self._event(
                removal, AuditAction.KEY_LEGACY_FILES_FAILED, {"problem": problem}, outcome="denied"
            )
            for removal in due
            if not removal.attempts
        ]
        await self.removals.failed(due, problem=problem, retry_s=retry_s, events=events)
        raise Unavailable(
            "Legacy files are not synchronized.",
            detail=f"{len(due)} purged keys are still in a file: {problem}",
        )

    def _event(
        self, removal: Removal, action: AuditAction, details: Details, outcome: Outcome = "success"
    ) -> AuditEvent:
        actor, at = Actor("system", "console"), self.clock.now()
        return actor.event(
            action, target_id=removal.key_id, at=at, details=details, outcome=outcome
        )
