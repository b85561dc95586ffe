"""Reports of gateway workers about instances of Cores: health, requests and latency. Pure.

Each worker counts the requests that it sends to an instance, and writes a report about the last
minute every few seconds. The console adds the reports of all workers. Latencies are counted in
buckets, because percentiles of several workers cannot be added. The width of a bucket is at most an
eighth of its lower bound.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gatehouse.core.cores import CoreRecord
from gatehouse.features.cores.schemas import CircuitBreakers, CoreProblem, RecentTraffic

#: Interval between two reports of a worker.
REPORT_S = 5.0

#: Number of intervals in a report, which together are one minute.
INTERVALS = 12

#: Time in seconds after which a report is ignored.
LIFETIME_S = 4 * REPORT_S

#: Maximum number of instances in the report of a worker. Open circuit breakers and the instances
#: with most requests come first.
INSTANCES_MAX = 100

PERCENTILE = 0.95


@dataclass(slots=True, eq=False)
class RequestCounts:
    """Requests that ended in an interval. Latency is the time until a response begins. buckets:
    number of responses by bucket.
    """

    requests: int = 0
    failures: int = 0
    total_us: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    problem: CoreProblem | None = None  # of the last failure

    def responded(self, seconds: float) -> None:
        us = int(seconds * 1_000_000)
        bucket = bucket_of(us)
        self.requests += 1
        self.total_us += us
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def failed(self, problem: CoreProblem) -> None:
        self.requests += 1
        self.failures += 1
        self.problem = problem


@dataclass(slots=True, eq=False)
class RecentRequests:
    """Requests of the last minute. `current`: counts of the current interval."""

    current: RequestCounts = field(default_factory=RequestCounts)
    _intervals: deque[RequestCounts] = field(default_factory=lambda: deque(maxlen=INTERVALS))

    def end_interval(self) -> RequestCounts:
        if not self.current.requests and not any(each.requests for each in self._intervals):
            return self.current  # a key can register thousands of instances
        self._intervals.append(self.current)
        self.current = RequestCounts()
        sums, buckets = RequestCounts(), Counter[int]()
        for counts in self._intervals:
            sums.requests += counts.requests
            sums.failures += counts.failures
            sums.total_us += counts.total_us
            sums.problem = counts.problem or sums.problem
            buckets.update(counts.buckets)
        sums.buckets = dict(buckets)
        return sums


class InstanceState(msgspec.Struct, frozen=True, array_like=True):
    """How the proxy of a gateway uses an instance. ejected: it receives no requests for some time,
    after failures. unhealthy: its health checks fail.
    """

    ejected: bool = False
    unhealthy: bool = False


_USED = InstanceState()


class InstanceReport(msgspec.Struct, frozen=True, array_like=True):
    """Report of a worker about an instance. The lease distinguishes registrations of the
    instance.
    """

    name: str
    instance_id: str
    lease_id: str
    state: InstanceState
    requests: int
    failures: int
    total_us: int
    buckets: dict[int, int]
    problem: CoreProblem | None = None


class WorkerReport(msgspec.Struct, frozen=True):
    """Report of a worker. has_states: it reports the states for its gateway."""

    has_states: bool
    instances: list[InstanceReport]


_decode = msgspec.json.Decoder(WorkerReport).decode

#: Name of a Core, and ID of an instance.
InstanceKey = tuple[str, str]


@dataclass(slots=True, eq=False)
class InstanceTraffic:
    """The requests of a worker to instances in the last minute."""

    _recent: dict[InstanceKey, RecentRequests] = field(default_factory=dict)

    def responded(self, core: str, instance_id: str, seconds: float) -> None:
        self._of(core, instance_id).current.responded(seconds)

    def failed(self, core: str, instance_id: str, problem: CoreProblem) -> None:
        self._of(core, instance_id).current.failed(problem)

    def _of(self, core: str, instance_id: str) -> RecentRequests:
        key = core, instance_id
        found = self._recent.get(key)
        if found is None:
            found = self._recent[key] = RecentRequests()
        return found

    def end_interval(
        self,
        find: Callable[[str, str], CoreRecord | None],
        states: Mapping[InstanceKey, InstanceState] | None,
    ) -> WorkerReport:
        """The report about the last minute. find: the current record of an instance. states: None
        if another worker reports them.
        """
        reports = []
        for key in {*self._recent, *(states or {})}:
            core, recent = find(*key), self._recent.get(key)
            if core is None:
                self._recent.pop(key, None)
                continue
            sums = RequestCounts() if recent is None else recent.end_interval()
            state = (states or {}).get(key, _USED)
            if not sums.requests:
                self._recent.pop(key, None)
            reports.append(
                InstanceReport(
                    *key,
                    core.lease_id,
                    state,
                    sums.requests,
                    sums.failures,
                    sums.total_us,
                    sums.buckets,
                    sums.problem,
                )
            )
        return WorkerReport(states is not None, most_relevant(reports))


def most_relevant(reports: Iterable[InstanceReport]) -> list[InstanceReport]:
    """The reports that a worker writes, at most INSTANCES_MAX. Instances without requests that are
    used normally are omitted."""
    relevant = [report for report in reports if report.requests or report.state != _USED]
    return sorted(relevant, key=lambda report: (report.state == _USED, -report.requests))[
        :INSTANCES_MAX
    ]


class Reports:
    """The reports of all workers, in JSON."""

    def __init__(self, workers: Sequence[str]) -> None:
        self._gateways = 0
        self._by_lease: dict[tuple[str, str, str], list[InstanceReport]] = {}
        for worker in map(_decode, workers):
            self._gateways += worker.has_states
            for report in worker.instances:
                lease = (report.name, report.instance_id, report.lease_id)
                self._by_lease.setdefault(lease, []).append(report)

    def summary(self, core: CoreRecord) -> tuple[bool, CircuitBreakers, RecentTraffic]:
        """Whether the instance is healthy: at most half of the gateways report that it is not."""
        reports = self._by_lease.get((core.name, core.instance_id, core.lease_id), [])
        unhealthy = sum(report.state.unhealthy for report in reports)
        buckets = Counter[int]()
        for report in reports:
            buckets.update(report.buckets)
        responses = buckets.total()
        mean_us = sum(report.total_us for report in reports) / max(1, responses)
        ejected = sum(report.state.ejected for report in reports)
        return (
            unhealthy * 2 <= self._gateways or not unhealthy,
            CircuitBreakers(self._gateways, ejected),
            RecentTraffic(
                requests=sum(report.requests for report in reports),
                failures=sum(report.failures for report in reports),
                mean_ms=_ms(mean_us) if responses else None,
                p95_ms=_ms(_percentile(buckets)) if responses else None,
                problem=next((report.problem for report in reports if report.problem), None),
            ),
        )


def bucket_of(us: int) -> int:
    """Number of the bucket of a latency in microseconds. There are eight buckets between a power of
    two and the next one.
    """
    bits = us.bit_length()
    return us if bits < 5 else bits << 3 | (us >> bits - 4) & 7


def bucket_end(bucket: int) -> int:
    bits = bucket >> 3
    return bucket + 1 if bits < 5 else (8 | bucket & 7) + 1 << bits - 4


def _percentile(buckets: Counter[int]) -> int:
    rank, count = math.ceil(buckets.total() * PERCENTILE), 0
    for bucket in sorted(buckets):
        count += buckets[bucket]
        if count >= rank:
            return bucket_end(bucket)
    raise ValueError("no responses")


def _ms(us: float) -> float:
    return round(us / 1000, 1)
