"""Trace context: examples of W3C and AWS X-Ray, invalid values."""

import re
import time

import pytest
from gatehouse.platform.tracing.context import RequestTrace, TraceParent, parent_of
from gatehouse.platform.web import request_ids

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROOT = "1-5759e988-bd862e3fe1be46a994272793"
ROOT_ID = "5759e988bd862e3fe1be46a994272793"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f" 00-{TRACE}-{SPAN}-03 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_traceparent_is_read_before_the_header_of_the_load_balancer(
    value: str, sampled: bool
) -> None:
    for of_load_balancer in ([], [f"Root={ROOT}"]):
        assert parent_of([value], of_load_balancer) == TraceParent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"cc-{TRACE}-{SPAN}-01.extra",
        "gtk_test_token",
    ],
)
def test_invalid_traceparent_is_ignored(value: str) -> None:
    assert parent_of([value], []) is None
    assert parent_of([value], [f"Root={ROOT}"]) == TraceParent(ROOT_ID, "", None)


def test_repeated_headers_are_ignored() -> None:
    valid = f"00-{TRACE}-{SPAN}-01"
    assert parent_of([valid, valid], []) is None
    assert parent_of([], [f"Root={ROOT}"] * 2) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"Root={ROOT}", TraceParent(ROOT_ID, "", None)),
        (
            f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1",
            TraceParent(ROOT_ID, "53995c3f42cd8ad8", True),
        ),
        (
            f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a87bd80c:0",
            TraceParent(ROOT_ID, "53995c3f42cd8ad8", False),
        ),
        (
            f"Self=1-67891234-12456789abcdef012345678; Root={ROOT}; Sampled=?",
            TraceParent(ROOT_ID, "", None),
        ),
        (f"Root={ROOT};Parent=x", TraceParent(ROOT_ID, "", None)),
        ("Root=1-5759e988-bd862e3fe1be46a99427279", None),
        ("Root=gtk_test_token", None),
        ("", None),
    ],
)
def test_xray_header_is_read(value: str, expected: TraceParent | None) -> None:
    assert parent_of([], [value]) == expected


def test_derived_ids_are_valid_and_begin_with_the_time() -> None:
    before = int(time.time())
    ids = {request_ids.request_id() for _ in range(100)}
    traces = [RequestTrace(request_id, None, sampled=False) for request_id in ids]
    assert (
        len({trace.trace_id for trace in traces}) == len({trace.span_id for trace in traces}) == 100
    )
    for trace in traces:
        assert re.fullmatch(r"[0-9a-f]{32}", trace.trace_id)
        assert before <= int(trace.trace_id[:8], 16) <= time.time()
        assert re.fullmatch(r"1[0-9a-f]{15}", trace.span_id)
