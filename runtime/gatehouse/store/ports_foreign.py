"""The port of old bcrypt hashes, which wait for the first use of their key."""

from __future__ import annotations

from typing import Protocol

from gatehouse.types import AuditEvent, KeyId, KeyRecord


class ForeignHashes(Protocol):
    async def read(self, key_id: KeyId) -> tuple[int, bytes] | None:
        """(pepper generation, sealed hash), None when there is none (any more). Raises Unavailable."""
        ...

    async def upgrade(self, key_id: KeyId, digest: bytes, generation: int, event: AuditEvent) -> KeyRecord | None:
        """Replaces the hash by an HMAC, with the event; the key as it then is, None when it has gone. Raises Unavailable."""
        ...
