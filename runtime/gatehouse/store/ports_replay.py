"""The port of answers that are given again: who repeats a request with its Idempotency-Key gets what the first one got."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Claim(msgspec.Struct, frozen=True):
    """A request that is about to act. `lookup` and `fingerprint`: 32 bytes each; times are Unix seconds."""

    lookup: bytes
    fingerprint: bytes
    request_id: str
    at: float
    expires_at: float


class Earlier(msgspec.Struct, frozen=True):
    """What an earlier request with this key left. `done`: the id of what it made or changed, by the audit trail; empty: nothing.

    running: it has not said how it ended. sealed, generation: its answer, while there is one.
    """

    fingerprint: bytes
    request_id: str
    claimed_at: float
    running: bool
    generation: int | None
    sealed: bytes | None
    done: str


class Replays(Protocol):
    async def claim(self, claim: Claim) -> Earlier | None:
        """Takes the key for a request; None: by this one, and exactly one of many at once gets None. Raises Unavailable."""
        ...

    async def take_over(self, claim: Claim, earlier: Earlier) -> bool:
        """Takes the key from an earlier request that did nothing; False when somebody else was faster."""
        ...

    async def keep(self, claim: Claim, *, target_id: str, generation: int, sealed: bytes) -> None:
        """Keeps the answer of the request that took the key."""
        ...

    async def release(self, claim: Claim, *, forget: bool) -> None:
        """The request ended without an answer to keep. forget: it did nothing, so the key is as if it had never been sent."""
        ...

    async def prune(self, *, now: float) -> int:
        """Deletes what has expired; the number of rows."""
        ...
