"""Request log lines: same format as other lines, batched, none lost or reordered."""

import io
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gatehouse.platform.observability import FLUSH_LINES, Logger, Observer, Stream
from gatehouse.platform.tracing.context import RequestTrace, TraceParent
from gatehouse.platform.tracing.tracer import ActiveRequest, Tracer

from tests.runtime.logged_requests import LoggedRequest
from tests.runtime.waiting import until

PARENT = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", None)
TRACE = RequestTrace("req_1", PARENT, sampled=False)


class Out(io.BytesIO):
    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, data: Any) -> int:
        self.writes += 1
        return super().write(data)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def test_line_that_cannot_be_written_affects_no_caller() -> None:
    with Path(os.devnull).open("rb") as out:  # `write` raises OSError
        Logger("info", Stream(out)).info("lost")


def log_request(observer: Observer, status: int = 200, **changes: Any) -> None:
    seconds = changes.pop("seconds", 0.0012345)
    fields: dict[str, Any] = {"trace": TRACE, "key_id": "3fGh82kLmQ0a", "code": "VALID"}
    request = LoggedRequest(**(fields | changes))
    observer.request(request, status, seconds)


@pytest.fixture
def out() -> Out:
    return Out()


@pytest.fixture
def observer(out: Out) -> Observer:
    return Observer("gateway", "info", "dev", Stream(out, batched=True))


def test_request_line_has_the_format_of_other_lines(out: Out, observer: Observer) -> None:
    log_request(observer, 502, detail="the Core is unavailable")
    observer.log.error("request")
    request, other = out.lines()
    assert len(request.pop("ts")) == len(other.pop("ts")) == len("2031-01-01T00:00:00.123456Z")
    assert other.items() <= request.items()
    assert request == {
        "event": "request",
        "level": "error",
        "environment": "dev",
        "service": "gateway",
        "request_id": "req_1",
        "trace_id": TRACE.trace_id,
        "method": "GET",
        "route": "/v1/keys/verify",
        "path": "/v1/keys/verify",
        "status": 502,
        "ms": 1.234,
        "key_id": "3fGh82kLmQ0a",
        "code": "VALID",
        "detail": "the Core is unavailable",
    }


async def test_concurrent_lines_are_one_write(out: Out, observer: Observer) -> None:
    for number in range(50):
        log_request(observer, trace=msgspec.structs.replace(TRACE, request_id=f"req_{number}"))
    assert out.writes == 0
    await until(lambda: out.writes)
    assert ([line["request_id"] for line in out.lines()], out.writes) == (
        [f"req_{number}" for number in range(50)],
        1,
    )


async def test_other_line_flushes_waiting_lines(out: Out, observer: Observer) -> None:
    log_request(observer)
    observer.log.warning("slow query", ms=700)
    log_request(observer, trace=msgspec.structs.replace(TRACE, request_id="req_2"))
    observer.log.info("stopped")
    assert [line["event"] for line in out.lines()] == [
        "request",
        "slow query",
        "request",
        "stopped",
    ]


async def test_many_lines_are_written_immediately(out: Out, observer: Observer) -> None:
    for _ in range(FLUSH_LINES):
        log_request(observer)
    assert out.writes >= 1


async def test_durations_are_counted_in_buckets_without_a_second_metric(observer: Observer) -> None:
    for _ in range(2):
        log_request(observer)
    text = (await observer.exposition()).decode()
    labels = 'route="/v1/keys/verify",service="gateway",status="2xx"'
    assert f'gatehouse_request_seconds_bucket{{le="0.0025",{labels}}} 2.0' in text
    assert f'gatehouse_request_seconds_bucket{{le="0.001",{labels}}} 0.0' in text
    assert f"gatehouse_request_seconds_sum{{{labels}}} 0.002469" in text
    assert "_created" not in text


@pytest.mark.parametrize(
    ("level", "written"), [("info", [200, 503, 502]), ("warning", [503, 502]), ("error", [502])]
)
def test_lines_below_log_level_are_omitted(level: Any, written: list[int], out: Out) -> None:
    observer = Observer("gateway", level, "dev", Stream(out))
    for status in (200, 503, 502):
        log_request(observer, status)
    assert [line["status"] for line in out.lines()] == written


def test_lines_of_a_request_have_its_ids(out: Out) -> None:
    log = Logger("info", Stream(out))
    active = ActiveRequest(Tracer(), LoggedRequest(TRACE))
    log.info("slow query", ms=700)
    log.info("other", request_id="req_2")
    active.ended = True
    log.info("stopped")
    ids = [(line.get("request_id"), line.get("trace_id")) for line in out.lines()]
    assert ids == [("req_1", TRACE.trace_id), ("req_2", TRACE.trace_id), (None, None)]


def test_changed_log_level_applies_to_requests(out: Out, observer: Observer) -> None:
    observer.set_level("error")
    log_request(observer)
    observer.set_level("info")
    log_request(observer)
    assert [line["event"] for line in out.lines() if line["event"] == "request"] == ["request"]


@pytest.mark.alarm_triggered("*-latency-5m", "*-latency-1h")
@pytest.mark.parametrize(
    ("seconds", "core_seconds", "slow"),
    [(0.1, None, []), (1.1, None, [1]), (9.0, 8.9, []), (9.0, 7.9, [1])],
)
def test_slow_requests_are_those_of_the_service(
    out: Out, seconds: float, core_seconds: float | None, slow: list[int]
) -> None:
    observer = Observer("gateway", "error", "test", Stream(out), namespace="Gatehouse/test")
    log_request(observer, seconds=seconds, core_seconds=core_seconds)
    observer.publish_slow_requests()
    lines = [line for line in out.lines() if "SlowRequests" in line]
    assert [line["SlowRequests"] for line in lines] == slow
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Dimensions"] == [["Service"]]
        assert (directive["Namespace"], line["Service"]) == ("Gatehouse/test", "gateway")


def test_health_checks_publish_slow_requests_but_are_none(out: Out) -> None:
    options: dict[str, Any] = {"namespace": "Gatehouse/test", "publish_s": 0.1}
    observer = Observer("console", "error", "test", Stream(out), **options)
    log_request(observer, seconds=2.0)
    while not (lines := [line for line in out.lines() if "SlowRequests" in line]):
        log_request(observer, 200, seconds=2.0, route="/healthz")
    assert [line["SlowRequests"] for line in lines] == [1]
