"""Metrics of the requests for CloudWatch, by Core and code."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from gatehouse.core.clock import Clock
from gatehouse.features.usage.models import UsageBatch
from gatehouse.platform.observability import embedded_metrics

METRICS_INTERVAL_S = 10.0

#: Maximum number of Cores with separate metrics. Further Cores are counted together as OTHERS.
CORES_MAX = 20

OTHERS = "others"


class UsageMetrics:
    """CloudWatch metrics of one process in the embedded metric format, from batches that were
    written to the database.

    A key is never a dimension, because each value would be a billed metric. If the process is
    killed, the counts since the last write are missing from the metrics, but not from the database.

    write: receives the members of a log line.
    """

    def __init__(
        self, namespace: str, clock: Clock, write: Callable[[dict[str, Any]], None]
    ) -> None:
        self._namespace = namespace
        self._clock = clock
        self._write = write
        self._written_at = clock.monotonic()
        self._cores: set[str] = set()
        self._reset()

    def add(self, batch: UsageBatch) -> None:
        """Count a batch, and write the counts if METRICS_INTERVAL_S have passed since the last
        write.
        """
        for row in batch.rows:
            self._codes[row.minute, row.code] += row.count
            if row.core:
                self._requests[row.minute, self._core(row.core)] += row.count
        if self._clock.monotonic() - self._written_at >= METRICS_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        self._written_at = self._clock.monotonic()
        for metric, name, sets, counts in (
            ("KeyDecisions", "Code", [[], ["Code"]], self._codes),
            ("CoreRequests", "Core", [["Core"]], self._requests),
        ):
            for (minute, value), count in counts.items():
                dimension = {name: value}
                self._write(
                    embedded_metrics(self._namespace, {metric: count}, dimension, sets, at=minute)
                )
        self._reset()

    def _reset(self) -> None:
        self._codes: Counter[tuple[int, str]] = Counter()
        self._requests: Counter[tuple[int, str]] = Counter()

    def _core(self, name: str) -> str:
        if name not in self._cores and len(self._cores) >= CORES_MAX:
            return OTHERS
        self._cores.add(name)
        return name
