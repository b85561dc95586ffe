"""Export of spans: never blocks, bounded, lost spans are counted."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from gatehouse import __version__
from gatehouse.platform.tracing import export
from gatehouse.platform.tracing.export import (
    BATCH_SPANS_MAX,
    CLOSE_TIMEOUT_S,
    QUEUE_SPANS_MAX,
    SpanQueue,
    collector_exporter,
    readable_span,
    resource,
)
from gatehouse.platform.tracing.tracer import FinishedSpan
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.runtime.platform.tracing.collector import Collector, running_collector
from tests.runtime.waiting import until


def span(number: int = 1, **changes: Any) -> FinishedSpan:
    ids = f"{number:032x}", f"{number:016x}", ""
    return FinishedSpan(
        "GET /", "SERVER", *ids, 1_000, 2_000, {"gatehouse.request_id": f"req_{number}"}
    )._replace(**changes)


class Blocked(SpanExporter):
    def __init__(self) -> None:
        self.resume = threading.Event()
        self.started = threading.Event()
        self.sizes: list[int] = []
        self.result = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.sizes.append(len(spans))
        self.started.set()
        self.resume.wait(60)
        return self.result


class Counts(dict[str, int]):
    def __call__(self, outcome: str, count: int) -> None:
        self[outcome] = self.get(outcome, 0) + count


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    exporter = Blocked()
    yield exporter
    exporter.resume.set()


def queue_of(exporter: SpanExporter, counts: Counts) -> SpanQueue:
    return SpanQueue(exporter, service="gateway", environment="test", count=counts)


async def test_spans_reach_the_collector(collector: Collector) -> None:
    counts = Counts()
    queue = queue_of(collector_exporter(collector.endpoint), counts)
    queue.add(
        span(
            7,
            parent_id="00f067aa0ba902b7",
            failed=True,
            attributes={"http.response.status_code": 500},
        )
    )
    await queue.close()
    (received,) = collector.spans
    assert (received.service, received.name, received.trace_id) == (
        "gatehouse-gateway",
        "GET /",
        f"{7:032x}",
    )
    assert (received.span_id, received.parent_id) == (f"{7:016x}", "00f067aa0ba902b7")
    assert (received.is_server, received.failed, received.ms) == (True, True, 0.001)
    assert received.attributes == {"http.response.status_code": 500}
    attributes = resource("gateway", "test")
    scope = readable_span(span(), attributes).instrumentation_scope
    assert scope is not None
    assert attributes.attributes["service.version"] == __version__
    assert attributes.schema_url == scope.schema_url != ""
    assert counts == {"exported": 1}


async def test_spans_beyond_the_queue_are_dropped(blocked: Blocked) -> None:
    counts = Counts()
    queue = queue_of(blocked, counts)
    queue.add(span())
    assert await asyncio.to_thread(blocked.started.wait, 60)
    for number in range(QUEUE_SPANS_MAX + 10):
        queue.add(span(number + 2))
    blocked.resume.set()
    await queue.close()
    assert counts == {"exported": QUEUE_SPANS_MAX + blocked.sizes[0]}
    assert max(blocked.sizes) <= BATCH_SPANS_MAX


async def test_collector_that_does_not_respond_delays_neither_requests_nor_the_end(
    blocked: Blocked,
) -> None:
    queue = queue_of(blocked, Counts())
    queue.add(span())
    await asyncio.to_thread(blocked.started.wait, 60)
    queue.add(span(2))  # returns, although the thread waits
    async with asyncio.timeout(CLOSE_TIMEOUT_S + 20):
        await queue.close()
    assert not blocked.resume.is_set()


async def test_export_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "EXPORT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = collector_exporter(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces")
        counts = Counts()
        queue = queue_of(exporter, counts)
        queue.add(span())
        await until(lambda: counts == {"failed": 1})
        await queue.close()
