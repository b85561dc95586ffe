"""What checkpoints of the audit trail need from the outside world: a key that signs, a locked place, and the rows to cover."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatehouse.core.checkpoint import Checkpoint


class Signer(Protocol):
    """A private key that nobody can read out."""

    async def key_id(self) -> str:
        """Names the key on checkpoints. Raises Unavailable."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """Raises Unavailable."""
        ...

    async def public_key(self) -> bytes:
        """As PEM. Raises Unavailable."""
        ...

    @property
    def algorithm(self) -> str: ...


class Vault(Protocol):
    """Where checkpoints are kept out of the application's reach: what is written there is not written over."""

    async def put(self, checkpoint: Checkpoint) -> None:
        """Keeps it; the same one a second time does no harm. Raises Unavailable."""
        ...

    async def all(self) -> tuple[Checkpoint, ...]:
        """In the order of the rows. Raises Unavailable."""
        ...


class Stretch(msgspec.Struct, frozen=True):
    """Rows behind the last checkpoint. `broken`: the first of them that does not continue the chain."""

    rows: int
    last_seq: int
    last_hash: bytes
    broken: int | None


class Checkpoints(Protocol):
    """The checkpoints as the database knows them."""

    async def last(self) -> Checkpoint | None: ...

    async def newest_seq(self) -> int:
        """Of the trail; 0 when it is empty."""
        ...

    async def stretch(self, after: Checkpoint | None) -> Stretch:
        """Reads and hashes all rows behind a checkpoint. Raises Unavailable."""
        ...

    async def add(self, checkpoint: Checkpoint) -> bool:
        """False when another process has taken one of this row already. Raises Unavailable."""
        ...

    async def page(self, *, after: int, size: int) -> tuple[Checkpoint, ...]:
        """In the order of the rows, behind row `after`. Raises Unavailable."""
        ...
