"""The port of imports: batches of keys that are written whole or not at all, and how far a run has come.

The ports behind keeping an older deployment's files in step: what was purged and is still to be removed, and the files.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.cores.models import CoreRecord
from gatehouse.keys.models import Key, KeyEnvironment, KeyId, RateLimit


class KeyRow(msgspec.Struct, frozen=True):
    """A key from elsewhere, checked. `place`: what its id is derived from; for all but bcrypt also what its HMAC is made of.

    hashed: the old bcrypt hash. None: what the file does not say. Times are Unix seconds.
    """

    place: str
    scheme: str
    hashed: bytes | None
    name: str
    owner: str
    environment: KeyEnvironment | None
    scopes: tuple[str, ...] | None
    cores: tuple[str, ...]
    limits: tuple[RateLimit, ...] | None
    methods: tuple[str, ...]
    addresses: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: dict[str, str]
    notes: str
    created_at: float | None
    expires_at: float | None
    enabled: bool

    def __repr__(self) -> str:
        return f"KeyRow({self.name})"


class CoreRow(msgspec.Struct, frozen=True):
    """Where a Core was. `place`: what the id of its key is derived from; None: it has none of its own."""

    url: str
    name: str | None
    place: str | None

    def __repr__(self) -> str:
        return f"CoreRow({self.name})"


class Run(msgspec.Struct, frozen=True):
    """`id`: 64 hexadecimal characters of the content and the options. `done`: how many rows of it are behind us."""

    id: str
    source: str
    rows: int
    done: int = 0
    made: int = 0
    kept: int = 0
    finished: bool = False


class Incoming(msgspec.Struct, frozen=True):
    """A key to write, and for bcrypt its sealed hash with the pepper generation that it is sealed under."""

    key: Key
    sealed: bytes | None = None


class Imports(Protocol):
    async def run(self, run: Run, *, now: float) -> Run:
        """The run as it stands; a new one is begun. Raises Unavailable."""
        ...

    async def existing(self, ids: list[KeyId]) -> dict[KeyId, str]:
        """Those of the ids that are taken, with the scheme of their key."""
        ...

    async def known(self, *, live_s: float, timeout_s: float) -> bool:
        """True once every live gateway worker has read what was written; False when `timeout_s` passed first."""
        ...

    async def write(self, run: Run, keys: list[Incoming], cores: list[CoreRecord], *, done: int, event: AuditEvent) -> Run:
        """Writes what is not there yet, the run's progress and the event, in one transaction; takes `made` and `kept` along.

        Raises Conflict when the run is not where `run.done` says (another process works on it), Unavailable.
        """
        ...


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


class LegacyFileStore(Protocol):
    """Blocking. Raises NotFound, Conflict (changed by somebody else), Unavailable."""

    def read(self, place: str) -> tuple[bytes, str]: ...

    def write(self, place: str, content: bytes, *, only_if: str | None = None, content_type: str = ...) -> None: ...
