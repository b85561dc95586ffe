"""Counting the use of keys: one dictionary update a request, and once a second a batch to the ledger; never I/O on the way.

A batch has a number and is kept until the ledger has confirmed it, so a repeated one is counted once. When the process is told to
stop, the rest is written before it ends. When it is killed, what was counted since the last confirmed batch is lost: about
FLUSH_S of requests while the database answers, and everything since it went away while it does not."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from gatehouse.background import Background
from gatehouse.clock import Clock
from gatehouse.errors import Unavailable
from gatehouse.usage.models import LastUse, UnusualUse, UsageBatch, UsageLedger, UsageRow
from gatehouse.verification.models import Code

FLUSH_S = 1.0


#: Different (key, Core, code, minute) that wait for the ledger. More are added up without key and Core: none goes uncounted.
WAITING_MAX = 100_000


#: Different (key, Core, code, address) of one second, likewise.
SECOND_MAX = 50_000


#: Pairs of key and address that the ledger knows already and need not be told again.
SIGHTINGS_MAX = 50_000


#: Refusals of one key in one minute, at one worker, from which on its owner is told.
REFUSALS_MARK = 100


#: At the end of the process the ledger is tried this often, STOP_WAIT_S apart; the server kills a worker after 5 s.
STOP_ATTEMPTS = 4


STOP_WAIT_S = 0.5


_Seen = tuple[str, str, str, str]  # key id, Core, code, address


class UsageCounter:
    """The part that requests touch. For one event loop."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[_Seen, int] = {}

    def count(self, key_id: str, core: str, code: str, address: str) -> None:
        """One request. `key_id` is empty unless possession of the key was proven; `address` when the client's is not known."""
        counts = self._counts
        seen = (key_id, core, code, address)
        if seen in counts:
            counts[seen] += 1
        elif len(counts) < SECOND_MAX:
            counts[seen] = 1
        else:
            rest = ("", "", code, "")
            counts[rest] = counts.get(rest, 0) + 1

    def take(self) -> dict[_Seen, int]:
        """What was counted since the last call."""
        taken, self._counts = self._counts, {}
        return taken

    def __len__(self) -> int:
        return len(self._counts)


class UsageFlusher:
    """Writes what a counter holds.

    worker_id: names this process among all that ever flushed. is_core: whether a Core of this name is registered, so that names
    which callers make up fill no table. on_flush hears the number of requests that were written, on_failure the error's name,
    on_unusual what the ledger noticed, on_batch both with the batch itself.
    """

    def __init__(
        self,
        counter: UsageCounter,
        ledger: UsageLedger,
        clock: Clock,
        *,
        worker_id: str,
        is_core: Callable[[str], bool],
        on_flush: Callable[[int], None] = lambda _: None,
        on_failure: Callable[[str], None] = lambda _: None,
        on_unusual: Callable[[UnusualUse], None] = lambda _: None,
        on_batch: Callable[[UsageBatch, tuple[UnusualUse, ...]], None] = lambda _batch, _unusual: None,
    ) -> None:
        self._counter = counter
        self._ledger = ledger
        self._clock = clock
        self._worker_id = worker_id
        self._is_core = is_core
        self._on_flush = on_flush
        self._on_failure = on_failure
        self._on_unusual = on_unusual
        self._on_batch = on_batch
        self._second_began = clock.now()
        self._number = 0
        self._sent: UsageBatch | None = None
        self._waiting: dict[tuple[str, str, str, int], int] = {}
        self._last_used: dict[str, float] = {}
        self._sightings: dict[LastUse, None] = {}
        self._known: OrderedDict[LastUse, None] = OrderedDict()
        self._refusals: dict[str, int] = {}
        self._refusals_minute = 0
        self._bursts: dict[str, int] = {}
        self._background = Background()
        self._flushing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Requests that were counted and not yet confirmed, but for those of the second under way."""
        sent = 0 if self._sent is None else sum(row.count for row in self._sent.rows)
        return sent + sum(self._waiting.values())

    def start(self) -> None:
        self._background.start(self._run(), "usage")

    async def close(self) -> None:
        """Writes the rest. Tries STOP_ATTEMPTS times; what cannot be written then is lost, and `on_failure` has heard of it."""
        await self._background.stop()
        for attempt in range(STOP_ATTEMPTS):
            if attempt:
                await asyncio.sleep(STOP_WAIT_S)
            while await self.flush():
                if not self.waiting:
                    return

    async def flush(self) -> bool:
        """One turn: false when the ledger could not be reached; then everything is kept for the next one."""
        async with self._flushing:
            self._fold()
            if self._sent is None:
                self._sent = self._batch()
            batch = self._sent
            if batch is None:
                return True
            try:
                unusual = await self._ledger.add(batch)
            except Unavailable as exc:
                self._on_failure(exc.detail or exc.code)
                return False
            self._sent = None
        for sighting in batch.sightings:
            self._remember(sighting)
        self._on_flush(sum(row.count for row in batch.rows))
        for one in unusual:
            self._on_unusual(one)
        self._on_batch(batch, unusual)
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            # Shielded: a cancellation in the middle would leave it unknown whether the batch was written.
            await asyncio.shield(self.flush())

    def _fold(self) -> None:
        """Adds the last second to what waits. Its requests belong to the minute in which it began."""
        now = self._clock.now()
        minute = int(self._second_began // 60) * 60
        for (key_id, core, code, address), count in self._counter.take().items():
            named = core if core and self._is_core(core) else ""
            self._add(key_id, named, code, minute, count)
            if not key_id:
                continue
            if code == Code.VALID:
                self._last_used[key_id] = now
                if address:
                    self._sight(LastUse(key_id, network(address)))
            else:
                self._refuse(key_id, minute, count)
        self._second_began = now

    def _add(self, key_id: str, core: str, code: str, minute: int, count: int) -> None:
        row = (key_id, core, code, minute)
        if row not in self._waiting and len(self._waiting) >= WAITING_MAX:
            row = ("", "", code, minute)
        self._waiting[row] = self._waiting.get(row, 0) + count

    def _refuse(self, key_id: str, minute: int, count: int) -> None:
        if minute != self._refusals_minute:
            self._refusals_minute, self._refusals = minute, {}
        before = self._refusals.get(key_id, 0)
        self._refusals[key_id] = before + count
        if before < REFUSALS_MARK <= before + count:
            self._bursts[key_id] = before + count

    def _sight(self, sighting: LastUse) -> None:
        if sighting in self._known:
            self._known.move_to_end(sighting)
        elif len(self._sightings) < SECOND_MAX:
            self._sightings[sighting] = None

    def _remember(self, sighting: LastUse) -> None:
        self._known[sighting] = None
        if len(self._known) > SIGHTINGS_MAX:
            self._known.popitem(last=False)

    def _batch(self) -> UsageBatch | None:
        if not self._waiting:
            return None
        self._number += 1
        batch = UsageBatch(
            worker_id=self._worker_id,
            number=self._number,
            at=self._clock.now(),
            rows=tuple(UsageRow(*row, count) for row, count in self._waiting.items()),
            last_used=self._last_used,
            sightings=tuple(self._sightings),
            bursts=self._bursts,
        )
        self._waiting, self._last_used, self._sightings, self._bursts = {}, {}, {}, {}
        return batch


def network(address: str) -> str:
    """The address, or its /64 network for IPv6: one customer holds a whole one. `unknown` when it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else str(parsed)
