"""Decides which requests are sampled, and records their spans.

A request that is not sampled costs one comparison of strings. The span of a request is created at
its end.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, Protocol

from gatehouse.platform.tracing.context import RequestTrace, TraceParent, random_digits

#: Number of traces per second and worker that callers can request with the sampled flag. Otherwise,
#: any client could multiply the cost of its requests.
REQUESTED_PER_S_MAX = 5

#: Greater than any random digits, and the number of values that the digits have.
_ALL = "g"
_DIGITS = 15

Attributes = Mapping[str, str | int]

#: Source: OpenTelemetry Semantic Conventions, "HTTP spans". A client chooses other names.
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_METHOD, _STATUS = "http.request.method", "http.response.status_code"


#: Kinds of spans (OpenTelemetry specification, "SpanKind").
Kind = Literal["SERVER", "CLIENT"]


class FinishedSpan(NamedTuple):
    """A span. Times in nanoseconds since 1970. The attributes never contain values from headers,
    paths, queries or bodies.
    """

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    failed: bool = False


#: Receives the spans. Never blocks.
AddSpan = Callable[[FinishedSpan], None]


class Tracer:
    """Samples requests and records their spans."""

    def __init__(
        self,
        add: AddSpan | None = None,
        sample_percent: float = 0.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        server: Attributes | None = None,
    ) -> None:
        """add: None disables tracing. Requests then have trace IDs only. sample_percent: share of
        the requests without a decision of their caller. server: attributes of all requests.
        """
        self._server = server or {}
        self._add = add
        self._threshold = _threshold(sample_percent) if add is not None else ""
        self._monotonic = monotonic
        self._second = 0
        self._requested = 0

    @property
    def is_enabled(self) -> bool:
        return self._add is not None

    def begin(self, request_id: str, parent: TraceParent | None) -> RequestTrace:
        return RequestTrace(
            request_id, parent, self._add is not None and self._is_sampled(request_id, parent)
        )

    def _is_sampled(self, request_id: str, parent: TraceParent | None) -> bool:
        if (
            parent is not None
            and parent.sampled is not None
            and (not parent.sampled or self._permits_request())
        ):
            return parent.sampled
        return random_digits(request_id) < self._threshold

    def _permits_request(self) -> bool:
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._requested = second, 0
        self._requested += 1
        return self._requested <= REQUESTED_PER_S_MAX

    def add(
        self,
        name: str,
        kind: Kind,
        ids: tuple[str, str, str],
        seconds: float,
        attributes: Attributes,
        *,
        failed: bool,
    ) -> None:
        """Records a span that ends now. ids: of the trace, of the span, and of its parent."""
        if self._add is not None:
            method = attributes.get(_METHOD, "GET")
            if method not in _METHODS:
                name = name.replace(str(method), "HTTP", 1)
                attributes = {**attributes, _METHOD: "_OTHER"}
            if failed:
                attributes = {"error.type": str(attributes.get(_STATUS, "_OTHER")), **attributes}
            end_ns = time.time_ns()
            start_ns = end_ns - round(seconds * 1e9)
            self._add(FinishedSpan(name, kind, *ids, start_ns, end_ns, attributes, failed))

    def request(
        self,
        trace: RequestTrace,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        **details: str | None,
    ) -> None:
        """Records the span of a request that ends now. details: further attributes, which are
        omitted if they are empty. A path can contain secrets, so the span has its template.
        """
        attributes: dict[str, str | int] = {
            **self._server,
            _METHOD: method,
            "http.route": route,
            "url.path": route,
            _STATUS: status,
            "gatehouse.request_id": trace.request_id,
        }
        attributes |= {f"gatehouse.{name}": value for name, value in details.items() if value}
        ids = trace.trace_id, trace.span_id, trace.parent_id
        name = f"{method} {route}"
        self.add(name, "SERVER", ids, seconds, attributes, failed=status >= 500)


class TracedRequest(Protocol):
    """A request, whose trace context is read when it is used."""

    @property
    def trace(self) -> RequestTrace: ...


class ActiveRequest:
    """The request that the current task or coroutine handles from now on, until it has ended. Log
    lines contain its IDs, and calls to other systems add spans to its trace.
    """

    __slots__ = ("_request", "ended", "tracer")

    def __init__(self, tracer: Tracer, request: TracedRequest) -> None:
        self.tracer = tracer
        self._request = request
        #: True after the handler. Tasks that the request started can continue longer.
        self.ended = False
        _active.set(self)

    @property
    def trace(self) -> RequestTrace:
        return self._request.trace


_active: ContextVar[ActiveRequest | None] = ContextVar("gatehouse_request", default=None)


def current_request() -> ActiveRequest | None:
    active = _active.get()
    return None if active is None or active.ended else active


def is_sampled() -> bool:
    active = current_request()
    return active is not None and active.tracer.is_enabled and active.trace.sampled


@contextmanager
def call_span(name: str, attributes: Attributes) -> Iterator[None]:
    """Records a call to another system as a span of the current request if the request is
    sampled.
    """
    started, error = time.perf_counter(), None
    try:
        yield
    except BaseException as exc:
        error = exc
        raise
    finally:
        add_call(name, time.perf_counter() - started, attributes, error)


def add_call(name: str, seconds: float, attributes: Attributes, error: object) -> None:
    """Records a call that ends now. error: None if it succeeded. See `call_span`."""
    if failed := error is not None:
        attributes = {**attributes, "error.type": type(error).__name__}
    active = current_request()
    if active is not None and active.tracer.is_enabled and active.trace.sampled:
        trace = active.trace
        # The ID is not secret.
        ids = trace.trace_id, f"{random.getrandbits(60) | 3 << 60:016x}", trace.span_id
        active.tracer.add(name, "CLIENT", ids, seconds, attributes, failed=failed)


def _threshold(percent: float) -> str:
    """Random digits below this text have a share of `percent` of all random digits."""
    count = round(percent / 100 * 16**_DIGITS)
    return _ALL if count >= 16**_DIGITS else f"{count:0{_DIGITS}x}"
