"""A collector that receives OTLP over HTTP, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class ReceivedSpan(NamedTuple):
    """A span, and the name of its service."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    is_server: bool
    failed: bool
    ms: float
    attributes: dict[str, str | int]


class Collector:
    """The spans that were received. `bodies`: the exports, byte by byte."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.port = 0
        self._received = threading.Condition()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    @property
    def spans(self) -> list[ReceivedSpan]:
        return [span for body in list(self.bodies) for span in decoded(body)]

    def receive(self, body: bytes) -> None:
        with self._received:
            self.bodies.append(body)
            self._received.notify_all()

    def wait(self, request_id: str, name: str = "") -> list[ReceivedSpan]:
        """The received spans of the trace of a request, as soon as they include the span of the request, and a span with this
        name."""
        deadline = time.monotonic() + 30
        with self._received:
            while True:
                spans = self.spans
                trace = next((s.trace_id for s in spans if s.attributes.get("gatehouse.request_id") == request_id), None)
                result = [span for span in spans if span.trace_id == trace]
                if result and (not name or any(span.name == name for span in result)):
                    return result
                assert self._received.wait(deadline - time.monotonic()), (request_id, name, len(spans))


def decoded(body: bytes) -> list[ReceivedSpan]:
    result = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = next(entry.value.string_value for entry in group.resource.attributes if entry.key == "service.name")
        for scope in group.scope_spans:
            result += [_span(service, span) for span in scope.spans]
    return result


def _span(service: str, span: Span) -> ReceivedSpan:
    values: dict[str, str | int] = {}
    for entry in span.attributes:
        kind = entry.value.WhichOneof("value")
        values[entry.key] = entry.value.int_value if kind == "int_value" else entry.value.string_value
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind == Span.SPAN_KIND_SERVER,
        span.status.code == 2,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        values,
    )


@contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if collector.status == 200:
                collector.receive(body)

        def log_message(self, *_: object) -> None:
            """No output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
        thread.join(30)
