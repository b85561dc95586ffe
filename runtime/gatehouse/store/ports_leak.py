"""What leak reports need from the outside world: a memory of where each key was found."""

from __future__ import annotations

from typing import Protocol

from gatehouse.types import AuditEvent, KeyId


class Leaks(Protocol):
    async def record(self, key_id: KeyId, place: bytes, event: AuditEvent) -> bool:
        """Writes the event, unless the key was reported at this place before (or at too many): then False. Raises Unavailable."""
        ...
