"""Types of imports and of the synchronization of legacy files."""

from __future__ import annotations

import msgspec

from gatehouse.keys.models import Key, KeyEnvironment, KeyId, RateLimit


class KeyRow(msgspec.Struct, frozen=True):
    """A validated row of an import. None: the file does not specify the value. Times are Unix seconds."""

    locator: str  # the key id is derived from it, and the HMAC too unless the scheme is bcrypt
    scheme: str
    hashed: bytes | None  # bcrypt hash
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
    """A validated row of an import of Cores."""

    url: str
    name: str | None
    locator: str | None  # the id of its key is derived from it; None: the row names no key

    def __repr__(self) -> str:
        return f"CoreRow({self.name})"


class Run(msgspec.Struct, frozen=True):
    """Progress of an import. The fields are columns of `import_run`."""

    id: str  # 64 hexadecimal characters: SHA-256 of the content and the options
    source: str
    rows: int
    done: int = 0  # rows that were processed
    imported: int = 0
    existing: int = 0  # rows whose key or Core existed; it was not changed
    finished: bool = False


class IncomingKey(msgspec.Struct, frozen=True):
    """A key to insert, and its sealed hash if the scheme is bcrypt."""

    key: Key
    sealed: bytes | None = None


class Removal(msgspec.Struct, frozen=True):
    """A purged key that is to be removed from the legacy files."""

    key_id: KeyId
    attempts: int  # that failed
