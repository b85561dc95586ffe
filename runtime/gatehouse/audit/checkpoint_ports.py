"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.

What checkpoints of the audit trail need from the outside world: a key that signs, a locked place, and the rows to cover."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatehouse.audit.checkpoint import Checkpoint


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


class CheckpointArchive(Protocol):
    """Where checkpoints are kept out of the application's reach: what is written there is not written over."""

    async def put(self, checkpoint: Checkpoint) -> None:
        """Keeps it; the same one a second time does no harm. Raises Unavailable."""
        ...

    async def all(self) -> tuple[Checkpoint, ...]:
        """In the order of the rows. Raises Unavailable."""
        ...


class UncheckpointedRange(msgspec.Struct, frozen=True):
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

    async def stretch(self, after: Checkpoint | None) -> UncheckpointedRange:
        """Reads and hashes all rows behind a checkpoint. Raises Unavailable."""
        ...

    async def add(self, checkpoint: Checkpoint) -> bool:
        """False when another process has taken one of this row already. Raises Unavailable."""
        ...

    async def page(self, *, after: int, size: int) -> tuple[Checkpoint, ...]:
        """In the order of the rows, behind row `after`. Raises Unavailable."""
        ...
