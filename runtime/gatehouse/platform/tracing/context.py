"""Reads the trace context of requests, `traceparent` (W3C) or `X-Amzn-Trace-Id` (AWS X-Ray), and
derives the IDs of spans. Pure.

Trace IDs begin with the time in seconds, so they are valid X-Ray trace IDs. The IDs of a request
are derived from its request ID, so that no further random numbers are needed.

Sources: W3C Trace Context, sections 3.2 (traceparent) and 3.3 (tracestate); AWS X-Ray Developer
Guide, "Tracing header" and "Sending trace data to AWS X-Ray", section "Generating trace IDs".
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

#: Version, trace ID, parent ID and flags. A later version can have further fields.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION = "ff"
_SAMPLED = 1

_XRAY_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_XRAY_PARENT = re.compile(r"[0-9a-f]{16}")

_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16

#: Positions in a request ID: the time in milliseconds, and the random digits.
_TIME, _RANDOM = slice(4, 15), slice(15, None)
_TIME_END = 6


class TraceParent(msgspec.Struct, frozen=True, gc=False):
    """Trace context that a client or a load balancer sent.

    span_id: span of the caller; empty if the caller has none. sampled: decision of the caller, or
        None if the caller made none.
    """

    trace_id: str
    span_id: str
    sampled: bool | None


class RequestTrace(msgspec.Struct, frozen=True, gc=False):
    """Trace context of a request. The IDs are derived when they are used, because most requests are
    not sampled.
    """

    request_id: str
    parent: TraceParent | None
    sampled: bool

    @property
    def trace_id(self) -> str:
        return trace_id_of(self.request_id) if self.parent is None else self.parent.trace_id

    @property
    def span_id(self) -> str:
        return f"1{self.request_id[_RANDOM]}"

    @property
    def parent_id(self) -> str:
        """Span of the caller, or empty."""
        return "" if self.parent is None else self.parent.span_id

    @property
    def client_span_id(self) -> str:
        """ID of the span for the request to a Core."""
        return f"2{self.span_id[1:]}"

    @property
    def traceparent(self) -> str:
        if self.sampled:
            return f"00-{self.trace_id}-{self.client_span_id}-01"
        return f"00-{self.trace_id}-{self.span_id}-00"


def parent_of(traceparent: Sequence[str], xray: Sequence[str]) -> TraceParent | None:
    """Trace context from the values of the headers `traceparent` and `X-Amzn-Trace-Id`. Invalid
    and repeated headers are ignored."""
    if len(traceparent) == 1:
        parent = _w3c_parent(traceparent[0].strip())
        if parent is not None:
            return parent
    return _xray_parent(xray[0]) if len(xray) == 1 else None


def _w3c_parent(value: str) -> TraceParent | None:
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if (
        version == _INVALID_VERSION
        or trace_id == _NO_TRACE
        or span_id == _NO_SPAN
        or (version == "00" and more)
    ):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def _xray_parent(value: str) -> TraceParent | None:
    only_root = _XRAY_ROOT.fullmatch(value, 5) if value.startswith("Root=") else None
    if only_root is not None:  # from a load balancer
        return TraceParent(only_root[1] + only_root[2], "", None)
    fields: dict[str, str] = {}
    for field in value.split(";"):
        name, _, text = field.strip().partition("=")
        fields.setdefault(name, text)
    root = _XRAY_ROOT.fullmatch(fields.get("Root", ""))
    if root is None:
        return None
    parent = fields.get("Parent", "")
    span_id = parent if _XRAY_PARENT.fullmatch(parent) and parent != _NO_SPAN else ""
    return TraceParent(
        root[1] + root[2], span_id, {"1": True, "0": False}.get(fields.get("Sampled", ""))
    )


def trace_id_of(request_id: str) -> str:
    """Trace ID of a request without a trace context: the time in seconds, followed by the end of
    the request ID.
    """
    return _seconds(request_id[_TIME]) + request_id[_TIME_END:]


@lru_cache(maxsize=64)
def _seconds(milliseconds: str) -> str:
    """Seconds as eight hexadecimal digits, for hexadecimal milliseconds. Cached, because they are
    often the same.
    """
    return f"{int(milliseconds, 16) // 1000:08x}"


def random_digits(request_id: str) -> str:
    return request_id[_RANDOM]
