"""Reports of gateway workers about instances."""

import math

import msgspec
import pytest
from gatehouse.core.cores import CoreRecord
from gatehouse.features.cores.reports import (
    INSTANCES_MAX,
    INTERVALS,
    InstanceReport,
    InstanceState,
    RecentRequests,
    Reports,
    RequestCounts,
    WorkerReport,
    bucket_end,
    bucket_of,
    most_relevant,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.core_records import instance

USED, EJECTED = InstanceState(), InstanceState(ejected=True)
UNHEALTHY = InstanceState(unhealthy=True)


def report(
    core: CoreRecord, state: InstanceState = USED, latencies: tuple[float, ...] = ()
) -> InstanceReport:
    counts = RequestCounts()
    for seconds in latencies:
        counts.responded(seconds)
    return InstanceReport(
        core.name,
        core.instance_id,
        core.lease_id,
        state,
        counts.requests,
        counts.failures,
        counts.total_us,
        counts.buckets,
    )


def read(workers: list[list[InstanceReport]]) -> Reports:
    """The reports of workers, each the first of a gateway."""
    return Reports([msgspec.json.encode(WorkerReport(True, each)).decode() for each in workers])


@given(st.integers(0, 10**9))
def test_bucket_contains_its_latency_and_is_narrow(us: int) -> None:
    end = bucket_end(bucket_of(us))
    assert us < end <= max(us + 1, us * 1.125 + 1)
    assert bucket_of(end) == bucket_of(end - 1) + 1 or end == 16


@given(st.lists(st.floats(0, 60), min_size=1, max_size=50), st.lists(st.floats(0, 60), max_size=50))
def test_percentile_of_several_workers_is_nearly_exact(
    first: list[float], second: list[float]
) -> None:
    core = instance("a")
    workers = [[report(core, latencies=tuple(latencies))] for latencies in (first, second)]
    _, _, traffic = read(workers).summary(core)
    exact = (
        sorted(int(seconds * 1e6) for seconds in first + second)[
            math.ceil(0.95 * len(first + second)) - 1
        ]
        / 1000
    )
    assert traffic.p95_ms is not None
    assert exact - 0.06 <= traffic.p95_ms <= exact * 1.125 + 0.06
    assert traffic.mean_ms == pytest.approx(
        sum(first + second) / len(first + second) * 1000, abs=0.06
    )


def test_requests_are_counted_for_a_minute() -> None:
    recent = RecentRequests()
    recent.current.responded(0.02)
    recent.current.failed("refused")
    sums = [recent.end_interval() for _ in range(INTERVALS + 1)]
    assert [(counts.requests, counts.failures) for counts in sums] == [(2, 1)] * INTERVALS + [
        (0, 0)
    ]
    assert (sums[-1].total_us, sums[-1].buckets, sums[-1].problem) == (0, {}, None)
    assert sums[0].problem == "refused"
    assert recent.end_interval() is recent.current  # without adding the intervals


def test_states_of_all_gateways_are_counted_for_the_current_lease() -> None:
    core, other = instance("a"), instance("b")
    previous = msgspec.structs.replace(core, lease_id="previous")
    gateways = [
        [report(core, EJECTED), report(other, EJECTED)],
        [report(core, UNHEALTHY)],
        [report(previous, EJECTED)],
        [],
    ]
    reports = read(gateways)
    is_healthy, states, traffic = reports.summary(core)
    assert (is_healthy, states.gateways, states.open) == (True, 4, 1)
    assert (traffic.requests, traffic.mean_ms, traffic.p95_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("unhealthy", "gateways", "is_healthy"),
    [(0, 0, True), (1, 1, False), (1, 2, True), (2, 3, False)],
)
def test_instance_is_unhealthy_if_most_gateways_report_it(
    unhealthy: int, gateways: int, is_healthy: bool
) -> None:
    core = instance("a")
    reports = [[report(core, UNHEALTHY)]] * unhealthy + [[]] * (gateways - unhealthy)
    assert read(reports).summary(core)[0] is is_healthy


@pytest.mark.bound("cores.reports:INSTANCES_MAX")
def test_number_of_reported_instances_is_bounded() -> None:
    busy = [
        report(instance(f"i{number}"), latencies=(0.1,) * (number % 3 + 1))
        for number in range(INSTANCES_MAX + 10)
    ]
    opened, idle = report(instance("open"), EJECTED), report(instance("idle"))
    written = most_relevant([*busy, opened, idle])
    assert len(written) == INSTANCES_MAX
    assert written[0] == opened
    assert idle not in written
    assert [one.requests for one in written[1:]] == sorted(
        (one.requests for one in written[1:]), reverse=True
    )
