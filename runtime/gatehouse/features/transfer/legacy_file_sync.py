"""Removes purged keys from legacy files that other systems still use.

A file is written only if its entity tag is unchanged since it was read, so a concurrent change by
another writer is not lost. Keys whose removal fails stay in the queue for the next run.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BadRequest, GatehouseError, NotFound, Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.core.tokens.imported_tokens import hash_material, ids_of, is_token, material
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.transfer.file_formats import without
from gatehouse.features.transfer.repository import RemovalRepository
from gatehouse.platform.aws import object_storage

#: Maximum size of a legacy file, which is parsed in the memory of the console. 100,000 entries are
#: smaller.
FILE_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class LegacyFileSync:
    """Removes purged keys from the legacy files.

    locations: s3://bucket/key or paths.
    read: returns the content and the entity tag of a location, with a maximum size.
    """

    removals: RemovalRepository
    locations: tuple[str, ...]
    clock: Clock
    pepper: Pepper
    read: Callable[[str, int], tuple[bytes, str]] = object_storage.read

    async def run_once(self) -> int:
        """Removes purged keys from all files that can be changed, and returns the number of keys.
        Raises Unavailable, and Conflict if another writer changes a file at the same time.
        """
        purged = await self.removals.queued()
        if not purged:
            return 0
        # Run in a thread, because each entry requires an HMAC and a file can have 100,000 entries.
        files, failures = list[str](), list[GatehouseError]()
        for location in self.locations:
            try:
                count = await asyncio.to_thread(self._remove, location, purged)
            except GatehouseError as exc:
                failures.append(exc)
            else:
                files.append(f"{location}: {count}")
        if failures:
            raise failures[0]

        def removed(key_id: KeyId) -> AuditEvent:
            action, at = AuditAction.KEY_LEGACY_FILES_REMOVED, self.clock.now()
            actor = Actor("system", "console")
            return actor.event(action, target_id=key_id, at=at, details={"files": files})

        return await self.removals.done(purged, removed)

    def _remove(self, location: str, purged: Collection[KeyId]) -> int:
        """Removes the entries of purged keys from a file and returns their number."""
        try:
            content, tag = self.read(location, FILE_BYTES_MAX)
            text, count = without(content.decode(), lambda name: self._is_one_of(name, purged))
        except NotFound:
            return 0
        except (BadRequest, ValueError) as exc:  # too large, MalformedFile, or not UTF-8
            reason = str(exc).removeprefix(f"{location} ")
            raise Unavailable(
                "Legacy files are not synchronized.",
                detail=f"{len(purged)} purged keys may still be in {location}, which {reason}",
            ) from None
        if count:
            object_storage.write(
                location, text.encode(), only_if=tag or None, content_type="application/json"
            )
        return count

    def _is_one_of(self, name: str, key_ids: Collection[KeyId]) -> bool:
        """name: a token, or the hash of one."""
        materials = (material(name) if is_token(name) else None, hash_material(name))
        return any(id in key_ids for text in materials if text for id in ids_of(text, self.pepper))
