"""The ports behind keeping an older deployment's files in step: what was purged and is still to be removed, and the files."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatehouse.types import AuditEvent, KeyId


class Removal(msgspec.Struct, frozen=True):
    """A purged key that may still stand in the files. `attempts`: how often its removal failed."""

    key_id: KeyId
    attempts: int


class Removals(Protocol):
    async def due(self, *, size: int, hold_s: float) -> tuple[Removal, ...]:
        """Takes up to `size` that are due; nobody else gets them for `hold_s` seconds. Raises Unavailable."""
        ...

    async def done(self, removals: tuple[Removal, ...], events: list[AuditEvent]) -> None:
        """They stand in no file any more."""
        ...

    async def failed(self, removals: tuple[Removal, ...], *, problem: str, again_s: float, events: list[AuditEvent]) -> None:
        """To be tried again after `again_s` seconds."""
        ...


class Files(Protocol):
    """Blocking. Raises NotFound, Conflict (changed by somebody else), Unavailable."""

    def read(self, place: str) -> tuple[bytes, str]: ...

    def write(self, place: str, content: bytes, *, only_if: str | None = None, content_type: str = ...) -> None: ...
