"""What the counting of use needs from the outside world: a ledger to write batches into, and one to read series from."""

from __future__ import annotations

from typing import Protocol

import msgspec

#: Widths of the buckets that are kept, in seconds, and for how long.
KEPT_S = {60: 2 * 86_400, 3600: 90 * 86_400, 86_400: 3 * 366 * 86_400}


#: Points that one series may hold.
POINTS_MAX = 10_000


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """Requests of one minute. `key_id` is empty for tokens that proved no key, `core` when no registered Core was meant."""

    key_id: str
    core: str
    code: str
    minute: int  # Unix seconds of its beginning
    count: int


class LastUse(msgspec.Struct, frozen=True, gc=False):
    """A key was used from an address (an IPv6 one stands for its /64 network)."""

    key_id: str
    address: str


class UsageBatch(msgspec.Struct, frozen=True):
    """What one worker counted. A batch with a number that this worker has sent before is counted once."""

    worker_id: str
    number: int
    at: float
    rows: tuple[UsageRow, ...]
    last_used: dict[str, float]  # key id -> Unix seconds of its last successful use, to the second
    sightings: tuple[LastUse, ...] = ()
    bursts: dict[str, int] = {}  # key id -> refusals in the minute that went over the mark


class UnusualUse(msgspec.Struct, frozen=True):
    """Something that an owner of the key may want to know. kind: new_address | refusals | dormant."""

    key_id: str
    kind: str
    address: str = ""
    number: int = 0  # refusals in a minute, or days of silence


class UsageLedger(Protocol):
    async def add(self, batch: UsageBatch) -> tuple[UnusualUse, ...]:
        """Counts a batch, all or nothing, and answers what was unusual about it (also in the audit trail). Raises Unavailable."""
        ...


class UsagePoint(msgspec.Struct, frozen=True):
    starts_at: float
    key_id: str | None  # None where keys were added up
    core: str | None
    code: str | None
    count: int


class UsageReports(Protocol):
    async def series(
        self,
        *,
        width_s: int,
        since: float,
        until: float,
        by: frozenset[str],
        key_id: str | None,
        core: str | None,
        code: str | None,
    ) -> tuple[UsagePoint, ...]:
        """Sums per bucket and per `by` (key_id, core, code), in the order of time. Raises Unavailable."""
        ...

    async def last_used(self, key_ids: tuple[str, ...]) -> dict[str, float]:
        """Unix seconds of the last successful use; keys that were never used are left out. Raises Unavailable."""
        ...

    async def addresses(self, key_id: str) -> tuple[str, ...]:
        """From where the key was used, the newest first. Raises Unavailable."""
        ...

    async def prune(self, *, now: float) -> int:
        """Takes away buckets older than KEPT_S and what ended workers left; answers how many buckets. Raises Unavailable."""
        ...
