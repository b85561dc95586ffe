"""The use of keys as metrics of CloudWatch: what the ledger has confirmed, added up and written as a log line now and then.

Few metrics, whatever there is to count: one for each code, and two for each of CORES_MAX Cores. A key is never a dimension, for
each would be a metric that costs; the busiest keys of an interval stand in the line itself, where a search of the log finds them.
What was counted since the last line is lost when the process is killed (EVERY_S of metrics; the ledger has it)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatehouse.aws import embedded_metrics as emf
from gatehouse.clock import Clock
from gatehouse.usage.models import UnusualUse, UsageBatch
from gatehouse.verification.models import Code

EVERY_S = 10.0


#: Cores with metrics of their own, the first that this process sees; the others are counted together.
CORES_MAX = 20


OTHERS = "others"


TOP_KEYS = 10


class UsageMetrics:
    """namespace: as the alarms and the dashboard name it. write: takes the members of a line."""

    def __init__(self, namespace: str, clock: Clock, write: Callable[[dict[str, Any]], None]) -> None:
        self._namespace = namespace
        self._clock = clock
        self._write = write
        self._written_at = clock.now()
        self._codes: dict[tuple[int, str], int] = {}
        self._cores: dict[tuple[int, str], list[int]] = {}
        self._keys: dict[str, int] = {}
        self._unusual: dict[str, int] = {}
        self._named: set[str] = set()

    def add(self, batch: UsageBatch, unusual: tuple[UnusualUse, ...]) -> None:
        """Counts a batch that the ledger has confirmed, and writes when EVERY_S have passed."""
        for row in batch.rows:
            code = (row.minute, row.code)
            self._codes[code] = self._codes.get(code, 0) + row.count
            if row.core:
                counts = self._cores.setdefault((row.minute, self._core(row.core)), [0, 0])
                counts[0] += row.count
                counts[1] += row.count if row.code != Code.VALID else 0
            if row.key_id:
                self._keys[row.key_id] = self._keys.get(row.key_id, 0) + row.count
        for one in unusual:
            self._unusual[one.kind] = self._unusual.get(one.kind, 0) + 1
        if self._clock.now() - self._written_at >= EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Writes what is held."""
        self._written_at = self._clock.now()
        busiest = sorted(self._keys.items(), key=lambda item: (-item[1], item[0]))[:TOP_KEYS]
        top = [{"key_id": key_id, "requests": count} for key_id, count in busiest]
        for (minute, code), count in self._codes.items():
            self._line(minute, {"KeyDecisions": count}, {"Code": code}, [[], ["Code"]], top_keys=top)
        for (minute, core), (requests, refused) in self._cores.items():
            self._line(minute, {"CoreRequests": requests, "CoreRefusals": refused}, {"Core": core}, [["Core"]])
        for kind, count in self._unusual.items():
            self._line(self._written_at, {"UnusualUse": count}, {"Kind": kind}, [["Kind"]])
        self._codes, self._cores, self._keys, self._unusual = {}, {}, {}, {}

    def _line(
        self, at: float, metrics: dict[str, int], dimensions: dict[str, str], sets: list[list[str]], **properties: Any
    ) -> None:
        self._write(emf.line(self._namespace, at, metrics, dimensions, sets, **properties))

    def _core(self, name: str) -> str:
        if name not in self._named and len(self._named) >= CORES_MAX:
            return OTHERS
        self._named.add(name)
        return name
