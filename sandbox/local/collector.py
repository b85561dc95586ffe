"""A collector for traces: receives spans from the services (OTLP over HTTP) and writes one line for
each span.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sandbox.ports import HOST, is_from_page

PATH = "/v1/traces"

#: Maximum size of an export. A service exports at most 256 spans at a time.
BODY_BYTES_MAX = 4 << 20

#: Maximum wait for data of a client.
_TIMEOUT_S = 30.0


class ReceivedSpan(NamedTuple):
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    is_server: bool
    failed: bool
    ms: float
    attributes: dict[str, str | int]


@contextmanager
def serve(receive: Callable[[bytes], int]) -> Iterator[str]:
    """Receive exports in a thread until the end of the block. Yields the URL. receive: called with
    the body, returns the status.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S

        def do_POST(self) -> None:
            self.send_response(self._status())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _status(self) -> int:
            length = self.headers.get("Content-Length", "")
            if is_from_page(self.headers.get):
                return 403
            if not (length.isascii() and length.isdigit() and int(length) <= BODY_BYTES_MAX):
                return 413
            return receive(self.rfile.read(int(length)))

        def log_message(self, *_: object) -> None:
            """No output."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="collector", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}{PATH}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def write_traces(log: Path) -> Iterator[str]:
    """Write a JSON line for each span until the end of the block. Yields the URL."""
    lock = threading.Lock()

    def receive(body: bytes) -> int:
        lines = "".join(json.dumps(span._asdict()) + "\n" for span in decode(body))
        with lock, log.open("a", encoding="utf-8") as file:
            file.write(lines)
        return 200

    log.touch()
    with serve(receive) as url:
        yield url


def decode(body: bytes) -> list[ReceivedSpan]:
    return [
        _received(str(_values(group.resource.attributes)["service.name"]), span)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in attributes
    }


def _received(service: str, span: Span) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind == Span.SPAN_KIND_SERVER,
        span.status.code == Status.STATUS_CODE_ERROR,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        _values(span.attributes),
    )
