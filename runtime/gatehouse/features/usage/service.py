"""Counts usage with one dictionary update per request, records requests, and writes both to the
database every second.

The counts are written in batches, each of which takes less than 2 ms of CPU time, so that requests
do not wait for them. Each batch has a number and is sent again until the database confirms the
batch, so every batch is counted exactly once. On shutdown, the remaining counts are written. If the
process is killed, the counts since the last confirmed batch are lost. While the database is
available, these are the requests from about FLUSH_S seconds.

Of many requests, a sample is recorded, whose rows also represent the others, so that sums are
exact: until the next batch, a number of each kind and a number in total (DENIED, ALLOWED).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.features.usage.cloudwatch_metrics import UsageMetrics
from gatehouse.features.usage.models import RecordedRequest, UsageBatch, UsageRow
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.platform.metrics import Metrics

FLUSH_S = 1.0

#: Maximum number of combinations of key, Core, code and minute in memory. Further requests are
#: counted only by code.
PENDING_MAX = 100_000

BATCH_ROWS = 250

#: Maximum number of rows of denied requests in memory, and of those with the same key, Core, code,
#: check and status. If the number is reached, further requests are counted by code, check and
#: status.
DENIALS_MAX, DENIALS_OF_KIND_MAX = 50, 10
#: The same for allowed requests, of which there are more.
ALLOWED_MAX, ALLOWED_OF_KIND_MAX = 10, 2

#: Number of attempts to write on shutdown, at intervals of STOP_INTERVAL_S. The attempts should end
#: before the parent process kills the worker.
STOP_ATTEMPTS = 4
STOP_INTERVAL_S = 0.5

_Use = tuple[str, str, str]  # key ID, Core, code
_Kind = tuple[str, str, str, str, int]  # key ID, Core, code, check, status


@dataclass(slots=True, eq=False)
class UsageCounter:
    """Counts requests in memory. Not thread-safe.

    is_core: True if a Core of this name is registered. Other names are not counted, because clients
        can invent any number of names.
    size_max: maximum number of combinations of key, Core and code.
    uncounted: IDs of the keys whose requests are not usage: the canary key.
    records_addresses: False if requests are recorded without client addresses.
    """

    is_core: Callable[[str], bool]
    size_max: int = PENDING_MAX
    uncounted: Collection[str] = ()
    records_addresses: bool = True
    _recorded: dict[_Kind, list[RecordedRequest]] = field(default_factory=dict)
    _denied_rows: int = 0
    _allowed_rows: int = 0
    _counts: dict[_Use, int] = field(default_factory=dict)

    def count(self, key_id: str, core: str, code: str) -> None:
        """Count one request. `key_id` is empty unless possession of the key was proven."""
        if key_id in self.uncounted:
            return
        counts = self._counts
        use = (key_id, core, code)
        count = counts.get(use)
        if count is not None:
            counts[use] = count + 1
        elif core and not self.is_core(core):
            self.count(key_id, "", code)
        elif len(counts) < self.size_max:
            counts[use] = 1
        else:
            rest = ("", "", code)
            counts[rest] = counts.get(rest, 0) + 1

    def represent(self, kind: _Kind) -> bool:
        """Count a request with a recorded one of the same kind. False if the caller must record the
        request itself.
        """
        if kind[0] in self.uncounted:
            return True
        if kind[3]:
            is_full, of_kind_max = self._denied_rows >= DENIALS_MAX, DENIALS_OF_KIND_MAX
        else:
            is_full, of_kind_max = self._allowed_rows >= ALLOWED_MAX, ALLOWED_OF_KIND_MAX
        rows = self._recorded.get(kind)
        if is_full and rows is None:
            rows = self._recorded.get(("", "", *kind[2:]))
        if rows is None or not (is_full or len(rows) >= of_kind_max):
            return False
        rows[-1].count += 1
        return True

    def record(self, kind: _Kind, row: RecordedRequest) -> None:
        """Record a request that no recorded one represents."""
        if not self.records_addresses:
            row.address = ""
        _, _, code, check, status = kind
        if self._denied_rows >= DENIALS_MAX if check else self._allowed_rows >= ALLOWED_MAX:
            kind = "", "", code, check, status
            row = RecordedRequest(row.began_at, code=code, failed_check=check, status=status)
        self._recorded.setdefault(kind, []).append(row)
        if check:
            self._denied_rows += 1
        else:
            self._allowed_rows += 1

    def take_requests(self) -> tuple[RecordedRequest, ...]:
        recorded, self._recorded = self._recorded, {}
        self._denied_rows = self._allowed_rows = 0
        return tuple(row for rows in recorded.values() for row in rows)

    def take(self) -> dict[_Use, int]:
        counts, self._counts = self._counts, {}
        return counts


class _Pending(NamedTuple):
    """Counts of requests in one minute, the last of which was at the time `at`."""

    minute: int
    at: float
    counts: dict[_Use, int]


@dataclass(slots=True, eq=False)
class UsageFlusher:
    """Writes the counts of a counter to the database.

    worker_id: unique among all processes that ever wrote counts.
    cloudwatch: receives each written batch. None: no CloudWatch metrics are written.
    """

    counter: UsageCounter
    repository: UsageRepository
    clock: Clock
    worker_id: str
    metrics: Metrics
    cloudwatch: UsageMetrics | None = None
    _counting_since: float = field(init=False)
    _number: int = 0
    _sent: UsageBatch | None = None
    _pending: deque[_Pending] = field(default_factory=deque)
    _requests: tuple[RecordedRequest, ...] = ()
    _flushing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._counting_since = self.clock.now()

    @property
    def pending(self) -> int:
        """Number of combinations that are not written yet, except those that the counter holds."""
        sent = 0 if self._sent is None else len(self._sent.rows)
        return sent + sum(len(pending.counts) for pending in self._pending)

    async def close(self) -> None:
        """Write the remaining counts, with STOP_ATTEMPTS attempts. Counts that are not written are
        lost.
        """
        for attempt in range(STOP_ATTEMPTS):
            if attempt:
                await asyncio.sleep(STOP_INTERVAL_S)
            # If earlier counts of the minute are pending, the first call leaves later counts in the
            # counter.
            with contextlib.suppress(Unavailable):
                await self.flush()
                await self.flush()
                return

    async def flush(self) -> None:
        """Write the counts, in batches. Raises Unavailable if the database is not available. The
        next call writes the counts that are not confirmed, also after a cancellation.
        """
        async with self._flushing:
            self._collect()
            while (batch := self._sent or self._batch()) is not None:
                self._sent = batch
                await self.repository.add(batch)
                self._sent = None
                self.metrics.usage_written.inc(sum(row.count for row in batch.rows))
                if self.cloudwatch is not None:
                    self.cloudwatch.add(batch)

    def _collect(self) -> None:
        """Take the counts from the counter. The requests are counted in the minute in which the
        counter started. If earlier counts of this minute are pending, the counter continues, so
        there is at most one dictionary per minute. Requests stay in the counter, which bounds their
        number, until the earlier ones are written.
        """
        if self._sent is None and not self._requests:
            self._requests = self.counter.take_requests()
        now, minute = self.clock.now(), int(self._counting_since // 60) * 60
        if self.pending and now < minute + 60:
            return
        if counts := self.counter.take():
            self._pending.append(_Pending(minute, now, counts))
        self._counting_since, self.counter.size_max = now, PENDING_MAX - self.pending

    def _batch(self) -> UsageBatch | None:
        if not (self._pending or self._requests):
            return None
        rows, at = list[UsageRow](), self.clock.now()
        if self._pending:
            minute, at, counts = self._pending[0]
            while counts and len(rows) < BATCH_ROWS:
                (key_id, core, code), count = counts.popitem()
                rows.append(UsageRow(key_id, core, code, minute, count))
            if not counts:
                self._pending.popleft()
        requests, self._requests = self._requests, ()
        self._number += 1
        return UsageBatch(self.worker_id, self._number, at, tuple(rows), requests)
