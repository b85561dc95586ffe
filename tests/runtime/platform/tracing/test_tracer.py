"""Sampling of requests, and spans of calls."""

import asyncio
from collections import Counter

import pytest
from gatehouse.core.actor import RequestId
from gatehouse.platform.tracing.context import TraceParent
from gatehouse.platform.tracing.tracer import (
    REQUESTED_PER_S_MAX,
    ActiveRequest,
    Attributes,
    FinishedSpan,
    Tracer,
    add_call,
    call_span,
    is_sampled,
)

from tests.runtime.logged_requests import LoggedRequest

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def request_id(digits: int) -> RequestId:
    return RequestId(f"req_0199f3a8c0d{digits:015x}")


@pytest.mark.parametrize("percent", [0.0, 0.01, 1.0, 50.0, 99.99, 100.0])
def test_share_of_sampled_requests_equals_the_setting(percent: float) -> None:
    tracer, bound = Tracer(lambda span: None, percent), round(percent / 100 * 16**15)
    expected = {0: bound > 0, 16**15 - 1: bound == 16**15}
    expected |= {
        digits: digits < bound for digits in (bound - 1, bound, bound + 1) if 0 <= digits < 16**15
    }
    assert {
        digits: tracer.begin(request_id(digits), None).sampled for digits in expected
    } == expected


@pytest.mark.parametrize(
    ("decision", "sampled"),
    [(True, {True: 4}), (False, {False: 4}), (None, {True: 2, False: 2})],
    ids=str,
)
def test_decision_of_the_caller_takes_precedence(
    decision: bool | None, sampled: dict[bool, int]
) -> None:
    tracer = Tracer(lambda span: None, 50.0, monotonic=lambda: 1.0)
    traces = [
        tracer.begin(request_id(number * 16**14), TraceParent(TRACE, SPAN, decision))
        for number in range(6, 10)
    ]
    assert Counter(trace.sampled for trace in traces) == sampled
    assert {(trace.trace_id, trace.parent_id) for trace in traces} == {(TRACE, SPAN)}


def test_traces_that_callers_request_are_bounded() -> None:
    now = 1.0
    tracer, parent, last = (
        Tracer(lambda span: None, 0.0, monotonic=lambda: now),
        TraceParent(TRACE, SPAN, True),
        request_id(1),
    )
    assert (
        sum(tracer.begin(last, parent).sampled for _ in range(REQUESTED_PER_S_MAX * 3))
        == REQUESTED_PER_S_MAX
    )
    now = 2.0
    assert tracer.begin(last, parent).sampled


async def test_calls_are_spans_of_the_request_until_it_ends() -> None:
    spans: list[FinishedSpan] = []
    tracer = Tracer(spans.append, 100.0)
    trace, resume = tracer.begin(request_id(1), None), asyncio.Event()

    async def background() -> None:
        await resume.wait()
        add_call("late", 0.1, {}, None)

    active = ActiveRequest(tracer, LoggedRequest(trace))
    task = asyncio.create_task(background())
    with call_span("DynamoDB get_item", {"rpc.system": "aws-api"}):
        assert is_sampled()
    with pytest.raises(ValueError, match="failed"), call_span("S3 get_object", {}):
        raise ValueError("failed")
    add_call("SELECT", 0.25, {}, None)
    active.ended = True
    resume.set()
    await task
    assert [(span.name, span.failed) for span in spans] == [
        ("DynamoDB get_item", False),
        ("S3 get_object", True),
        ("SELECT", False),
    ]
    assert {(span.trace_id, span.parent_id) for span in spans} == {(trace.trace_id, trace.span_id)}
    assert len({span.span_id for span in spans} | {trace.span_id, trace.client_span_id}) == 5
    assert [span.attributes.get("error.type") for span in spans] == [None, "ValueError", None]
    assert spans[2].end_ns - spans[2].start_ns >= 250_000_000
    assert not is_sampled()


def test_spans_of_requests_have_the_attributes_of_the_semantic_conventions() -> None:
    spans: list[FinishedSpan] = []
    server: Attributes = {"url.scheme": "https", "server.address": "g.example", "server.port": 443}
    tracer = Tracer(spans.append, 100.0, server=server)
    trace = tracer.begin(request_id(1), None)
    for method, status in (("GET", 404), ("STEAL-gtk_live_x", 503)):
        tracer.request(trace, method=method, route="/v1/keys/{id}", status=status, seconds=0.1)
    common = {
        **server,
        "http.route": "/v1/keys/{id}",
        "url.path": "/v1/keys/{id}",
        "gatehouse.request_id": trace.request_id,
    }
    found, failed = spans
    assert (found.name, found.failed) == ("GET /v1/keys/{id}", False)
    assert found.attributes == {
        **common,
        "http.request.method": "GET",
        "http.response.status_code": 404,
    }
    assert (failed.name, failed.failed) == ("HTTP /v1/keys/{id}", True)
    assert failed.attributes == {
        **common,
        "http.request.method": "_OTHER",
        "http.response.status_code": 503,
        "error.type": "503",
    }
