"""Use of API keys as CloudWatch metrics in the embedded metric format, from batches that were written to the database.

A key is never a dimension, because each value would be a billed metric. The busiest keys of an interval are properties of the log
line instead. Counts since the last line are lost if the process is killed; the database has them.
Format: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatehouse.clock import Clock
from gatehouse.usage.models import UnusualUse, UsageBatch
from gatehouse.verification.models import Code

INTERVAL_S = 10.0

#: Cores with metrics of their own: the first ones that this process counts. All others are counted together as OTHERS.
CORES_MAX = 20
OTHERS = "others"
TOP_KEYS = 10

#: Bounds of the format: metrics of a line, dimensions of a set.
METRICS_MAX, DIMENSIONS_MAX = 100, 30


class UsageMetrics:
    """Metrics of one process. `write` receives the members of a log line."""

    def __init__(self, namespace: str, clock: Clock, write: Callable[[dict[str, Any]], None]) -> None:
        self._namespace = namespace
        self._clock = clock
        self._write = write
        self._written_at = clock.now()
        self._cores: set[str] = set()
        self._reset()

    def add(self, batch: UsageBatch, unusual: tuple[UnusualUse, ...]) -> None:
        """Count a batch, and write if INTERVAL_S have passed since the last time."""
        for row in batch.rows:
            self._codes[row.minute, row.code] += row.count
            if row.core:
                core = (row.minute, self._core(row.core))
                self._requests[core] += row.count
                self._denied[core] += row.count if row.code != Code.VALID else 0
            if row.key_id:
                self._keys[row.key_id] += row.count
        self._unusual.update(use.kind for use in unusual)
        if self._clock.now() - self._written_at >= INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Write all counts."""
        self._written_at = self._clock.now()
        busiest = sorted(self._keys.items(), key=lambda item: (-item[1], item[0]))[:TOP_KEYS]
        top = [{"key_id": key_id, "requests": count} for key_id, count in busiest]
        for (minute, code), count in self._codes.items():
            self._line(minute, {"KeyDecisions": count}, {"Code": code}, [[], ["Code"]], top_keys=top)
        for (minute, core), count in self._requests.items():
            metrics = {"CoreRequests": count, "CoreDenials": self._denied[minute, core]}
            self._line(minute, metrics, {"Core": core}, [["Core"]])
        for kind, count in self._unusual.items():
            self._line(self._written_at, {"UnusualUse": count}, {"Kind": kind}, [["Kind"]])
        self._reset()

    def _reset(self) -> None:
        self._codes: Counter[tuple[int, str]] = Counter()
        self._requests: Counter[tuple[int, str]] = Counter()
        self._denied: Counter[tuple[int, str]] = Counter()
        self._keys: Counter[str] = Counter()
        self._unusual: Counter[str] = Counter()

    def _line(
        self, at: float, metrics: dict[str, int], dimensions: dict[str, str], sets: list[list[str]], **properties: Any
    ) -> None:
        self._write(log_line(self._namespace, at, metrics, dimensions, sets, **properties))

    def _core(self, name: str) -> str:
        if name not in self._cores and len(self._cores) >= CORES_MAX:
            return OTHERS
        self._cores.add(name)
        return name


def log_line(
    namespace: str,
    at: float,
    metrics: Mapping[str, int],
    dimensions: Mapping[str, str],
    sets: Sequence[Sequence[str]],
    **properties: Any,
) -> dict[str, Any]:
    """Fields of a log line: counts of `metrics` at `at` (Unix seconds), for each set of dimension names in `sets`.

    properties: additional fields for searches, without a metric. Raises ValueError if a bound of the specification is exceeded.
    """
    if not 0 < len(metrics) <= METRICS_MAX or any(len(names) > DIMENSIONS_MAX for names in sets):
        raise ValueError("a line can have 1 to 100 metrics and at most 30 dimensions")
    if {name for names in sets for name in names} - dimensions.keys():
        raise ValueError("a dimension has no value")
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(names) for names in sets],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
    }
    return {"_aws": {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]}, **dimensions, **metrics, **properties}
