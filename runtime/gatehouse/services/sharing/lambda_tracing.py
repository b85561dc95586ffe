"""Sends the spans of a Lambda function to its X-Ray daemon (UDP).

Source of the format: AWS Distro for OpenTelemetry Python, `OTLPUdpSpanExporter`.
"""

import base64
import socket
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from gatehouse.platform.tracing.export import readable_span, resource
from gatehouse.platform.tracing.tracer import FinishedSpan

_HEADER = b'{"format":"json","version":1}\nT1S'

#: Maximum size of a message in bytes. Larger spans are lost.
MESSAGE_BYTES_MAX = 65_000


class Daemon:
    """Spans are sent immediately, because Lambda freezes the process between requests."""

    def __init__(self, address: str, *, service: str, environment: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host, int(port)
        self._resource = resource(service, environment)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def add(self, span: FinishedSpan) -> None:
        spans = encode_spans([readable_span(span, self._resource)])
        message = _HEADER + base64.b64encode(spans.SerializeToString())
        if len(message) <= MESSAGE_BYTES_MAX:
            with suppress(OSError):  # the span is lost
                self._socket.sendto(message, self._address)
