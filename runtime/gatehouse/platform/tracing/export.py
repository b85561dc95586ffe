"""Sends spans to an OpenTelemetry collector (OTLP over HTTP).

A collector that is slow or cannot be reached never delays a request, because spans wait for a
background thread in a queue of limited size. Spans that the collector does not
accept are counted in a metric.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from gatehouse import __version__
from gatehouse.platform import calls
from gatehouse.platform.tracing.tracer import FinishedSpan

#: Maximum number of spans that wait. With further spans, the oldest are dropped.
QUEUE_SPANS_MAX = 2048

#: Interval between two exports, maximum number of spans in an export, and deadline of an export
#: with its retries.
EXPORT_INTERVAL_S = 1.0
BATCH_SPANS_MAX = 256
EXPORT_TIMEOUT_S = 5.0

#: Maximum time in which the last spans are exported when the process stops.
CLOSE_TIMEOUT_S = 2.0

#: Version of the semantic conventions of the attributes.
_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
_SCOPE = InstrumentationScope("gatehouse", __version__, _SCHEMA)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FAILED, _UNSET = Status(StatusCode.ERROR), Status(StatusCode.UNSET)


#: Counts spans by outcome: exported, or failed (the collector did not accept them).
Count = Callable[[str, int], None]


class SpanQueue(SpanExporter):
    """Exports spans in a background thread with another exporter, and counts them."""

    def __init__(
        self, exporter: SpanExporter, *, service: str, environment: str, count: Count
    ) -> None:
        # The SDK would write its errors to standard error.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        self._exporter = exporter
        self._resource = resource(service, environment)
        self._processor = BatchSpanProcessor(
            self,
            max_queue_size=QUEUE_SPANS_MAX,
            schedule_delay_millis=EXPORT_INTERVAL_S * 1000,
            max_export_batch_size=BATCH_SPANS_MAX,
        )
        self._count = count

    def add(self, span: FinishedSpan) -> None:
        self._processor.on_end(readable_span(span, self._resource))

    async def close(self) -> None:
        """Exports the spans that wait, within CLOSE_TIMEOUT_S."""
        thread = threading.Thread(
            target=self._processor.shutdown, name="close-tracing", daemon=True
        )
        thread.start()
        await asyncio.to_thread(thread.join, CLOSE_TIMEOUT_S)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        with suppress(Exception):
            result = self._exporter.export(spans)
        is_exported = result is SpanExportResult.SUCCESS
        self._count("exported" if is_exported else "failed", len(spans))
        if is_exported:
            calls.succeeded("trace collector")
        else:
            calls.failed("trace collector", "spans not accepted")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def collector_exporter(endpoint: str) -> SpanExporter:
    """Exporter for the URL of a collector. The variables OTEL_EXPORTER_OTLP_HEADERS and
    OTEL_EXPORTER_OTLP_CERTIFICATE of OpenTelemetry apply."""
    session = requests.Session()
    # The collector is a sidecar or in the same network. Proxy variables are for requests to the
    # internet.
    session.trust_env = False
    return OTLPSpanExporter(endpoint, timeout=EXPORT_TIMEOUT_S, session=session)


def resource(service: str, environment: str) -> Resource:
    return Resource.create(
        {
            "service.namespace": "gatehouse",
            "service.name": f"gatehouse-{service}",
            "service.version": __version__,
            "deployment.environment.name": environment,
            "process.pid": os.getpid(),
        },
        _SCHEMA,
    )


def readable_span(span: FinishedSpan, resource: Resource) -> ReadableSpan:
    """The span in the form that exporters of OpenTelemetry read."""
    trace_id = int(span.trace_id, 16)
    parent = (
        SpanContext(trace_id, int(span.parent_id, 16), is_remote=span.kind == "SERVER")
        if span.parent_id
        else None
    )
    return ReadableSpan(
        span.name,
        context=SpanContext(trace_id, int(span.span_id, 16), is_remote=False, trace_flags=_SAMPLED),
        parent=parent,
        resource=resource,
        attributes=dict(span.attributes),
        kind=SpanKind[span.kind],
        status=_FAILED if span.failed else _UNSET,
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )
