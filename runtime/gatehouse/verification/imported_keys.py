"""Verifies imported keys. Finds keys by tokens in other formats, and replaces a bcrypt hash with an HMAC on first use.

The cost of a wrong token is bounded. The token is looked up only by derived IDs, in one query. A bcrypt hash is computed only for
an ID that exists, at most CHECKS_AT_ONCE at a time per worker and GUESSES_MAX times per minute and key. Beyond these limits, the
result is UNAVAILABLE instead of a denial, because the token may be correct. The count of attempts restarts every minute.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from gatehouse.audit.models import AuditAction, AuditEvent, Details
from gatehouse.audit.repository import append
from gatehouse.clock import Clock
from gatehouse.crypto.sealing import unseal
from gatehouse.crypto.token import NULL_DIGEST, Pepper, proves_possession
from gatehouse.db.pool import Pool
from gatehouse.errors import Unavailable
from gatehouse.identity.models import Actor
from gatehouse.keys.models import KeyId, KeyRecord
from gatehouse.keys.repository import RECORD_COLUMNS, key_record
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.imported_tokens import ImportedKeyIds, bcrypt_matches, hash_purpose
from gatehouse.verification.repository import KeyLoader

CHECKS_AT_ONCE = 1

#: Maximum number of waiting checks. Further checks result in UNAVAILABLE.
WAITING_MAX = 16
GUESSES_MAX = 5
GUESSES_WINDOW_S = 60.0

#: Maximum number of keys whose guesses are counted. The key whose last guess is the oldest is evicted first.
_COUNTED_KEYS_MAX = 10_000

#: Database timeout. Fails closed: the key is not verified.
TIMEOUT_S = 5.0
_READ = "SELECT generation, sealed FROM imported_hash WHERE key_id = $1"
_UPGRADE = (
    "UPDATE api_key SET digest = $2, pepper_generation = $3"  # noqa: S608
    f" WHERE id = $1 AND digest = $4 AND state <> 'purged' RETURNING {RECORD_COLUMNS}"
)


class ImportedKey(msgspec.Struct, frozen=True):
    """Result of a lookup. `material`: input of the HMAC if the token is correct."""

    record: KeyRecord | None
    material: str


@dataclass(slots=True, eq=False)
class ImportedKeys:
    """Verifies imported keys in one worker. Use in a single event loop."""

    pool: Pool
    cache: KeyCache
    keys: KeyLoader
    clock: Clock
    pepper: Pepper
    ids: ImportedKeyIds
    _semaphore: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))
    _waiting: int = 0
    _guesses: dict[KeyId, tuple[float, int]] = field(default_factory=dict)

    async def find(self, token: str) -> ImportedKey | None:
        """The imported key to which the token may belong, or None if no imported key can have such a token.

        Verifies a bcrypt token on first use and upgrades the key. `record` is None if the token is wrong. Raises Unavailable,
        including if there are too many guesses.
        """
        candidates = self.ids.candidates(token)
        if not candidates:
            return None
        records = await asyncio.gather(*(self.keys.find(candidate.id) for candidate in candidates))
        for candidate, record in zip(candidates, records, strict=True):
            if record is not None and record.scheme == candidate.scheme:
                if record.digest == NULL_DIGEST:
                    record = await self._upgraded(record, token, candidate.material)
                return ImportedKey(record, candidate.material)
        return ImportedKey(None, candidates[0].material)

    async def _upgraded(self, record: KeyRecord, token: str, material: str) -> KeyRecord | None:
        if not record.scheme.startswith("bcrypt"):
            return None
        if self._waiting >= WAITING_MAX:
            raise _unavailable("too many first uses of imported keys at once")
        self._waiting += 1
        try:
            async with self._semaphore:
                return await self._upgrade(record.id, token, material)
        finally:
            self._waiting -= 1

    async def _upgrade(self, key_id: KeyId, token: str, material: str) -> KeyRecord | None:
        record = await self.keys.find(key_id)
        if record is None or record.digest != NULL_DIGEST:
            # Another request has upgraded the key in the meantime.
            return record if proves_possession(self.pepper, material, record) else None
        self._count_guess(key_id)
        row = await self.pool.fetchrow(_READ, key_id, timeout_s=TIMEOUT_S)
        hashed = None if row is None else unseal(row["sealed"], hash_purpose(key_id), self.pepper, row["generation"])
        if hashed is None or not await asyncio.to_thread(bcrypt_matches, record.scheme, token, hashed):
            return None
        self._guesses.pop(key_id, None)
        # Every gateway that reads the record has the pepper generation of the record. PepperMigration migrates the key later.
        digest = self.pepper.digest(material, record.pepper_generation)
        if digest is None:
            return None
        actor, details = Actor("system", "gateway"), Details({"from": record.scheme, "to": "hmac"})
        event = actor.event(AuditAction.KEY_UPGRADE, target_id=key_id, at=self.clock.now(), details=details)
        return await self._replace_hash(key_id, digest, record.pepper_generation, event)

    async def _replace_hash(self, key_id: KeyId, digest: bytes, generation: int, event: AuditEvent) -> KeyRecord | None:
        """Replaces the bcrypt hash with an HMAC in one transaction with the audit event, and updates this worker's cache.

        Returns the updated key, or None if the key no longer has a bcrypt hash. Raises Unavailable.
        """
        async with self.pool.transaction(deadline_s=TIMEOUT_S) as connection:
            row = await connection.fetchrow(_UPGRADE, key_id, digest, generation, NULL_DIGEST)
            if row is None:
                return None
            await connection.execute("DELETE FROM imported_hash WHERE key_id = $1", key_id)
            await append(connection, event)
        record = key_record(row)
        self.cache.change(record)
        return record

    def _count_guess(self, key_id: KeyId) -> None:
        now = self.clock.now()
        since, count = self._guesses.pop(key_id, (now, 0))
        if now - since >= GUESSES_WINDOW_S:
            since, count = now, 0
        self._guesses[key_id] = (since, count + 1)
        if len(self._guesses) > _COUNTED_KEYS_MAX:
            self._guesses.pop(next(iter(self._guesses)))
        if count >= GUESSES_MAX:
            raise _unavailable("too many guesses at an imported key")


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("Key verification is temporarily unavailable.", detail=detail)
