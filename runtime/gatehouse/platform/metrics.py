"""Prometheus metrics of the runtime.

Several workers aggregate their metrics through files in a folder. platform/supervisor.py specifies
the folder before a worker imports prometheus_client.
"""

import asyncio
import os
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import msgspec
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from gatehouse.core.verification import Code
from gatehouse.platform.settings import METRICS_FOLDER_VARIABLE

#: Histogram buckets in seconds. A verification takes well under a millisecond; a proxied file can
#: take much longer.
_BUCKETS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)

#: Content type of the metrics.
METRICS_TYPE = CONTENT_TYPE_LATEST

#: Otherwise each counter has a second metric, its time of creation, which CloudWatch bills.
disable_created_metrics()  # type: ignore[no-untyped-call]


class StreamUse(msgspec.Struct, frozen=True, gc=False):
    """Use of a WebSocket, for its log line and the metrics. The numbers of bytes include the
    headers of frames.
    """

    bytes_from_client: int
    bytes_from_core: int


def _metric(name: str, hint: Any, registry: CollectorRegistry) -> Counter | Gauge:
    match get_origin(hint), *get_args(hint):
        case (origin, kind, str(description), *labels) if origin is Annotated and kind is Counter:
            return Counter(f"gatehouse_{name}", description, labels, registry=registry)
        case (origin, kind, str(description), "livemax" | "livesum" as workers) if (
            origin is Annotated and kind is Gauge
        ):
            return Gauge(
                f"gatehouse_{name}", description, registry=registry, multiprocess_mode=workers
            )
    raise TypeError(
        f'platform/metrics.py: declare {name} as Annotated[Counter, "<description>", "<label>"] or '
        'Annotated[Gauge, "<description>", "livemax"]'
    )


class Metrics:
    """Metrics of the runtime, gatehouse_<name>: each with its description, and the labels of a
    counter, or how the values of the workers make one of a gauge: the maximum (livemax) or the sum
    (livesum). Labels have few values, such as codes, routes and methods, and never contain IDs.
    """

    decisions: Annotated[Counter, "Verifications of API keys, by outcome code.", "code"]
    rate_limiter_degraded: Annotated[
        Counter, "Redis failures after which the rate limiter used its fallback."
    ]
    trace_spans: Annotated[
        Counter, "Spans of traces: exported, failed = not accepted by the collector.", "outcome"
    ]
    worker_restarts: Annotated[
        Gauge,
        "Workers of the service that were killed and replaced since the container started.",
        "livemax",
    ]
    cores: Annotated[Gauge, "Known Cores, including those whose lease has expired.", "livemax"]
    core_errors: Annotated[Counter, "Requests to Cores that failed, by error code.", "code"]
    core_responses: Annotated[Counter, "Responses of Cores, by status class.", "status"]
    circuit_breakers_open: Annotated[
        Gauge,
        "Instances of Cores that receive no requests for some time, after failures.",
        "livesum",
    ]
    unhealthy_instances: Annotated[Gauge, "Instances of Cores whose health checks fail.", "livesum"]
    requests_in_progress: Annotated[Gauge, "Requests to Cores in progress.", "livesum"]
    expired: Annotated[
        Counter,
        "Entries that were removed because the event for which they waited did not happen in time.",
        "registry",
    ]
    completions_malformed: Annotated[
        Counter, "Lines of the proxy about ended requests that could not be read."
    ]
    core_retries: Annotated[
        Counter,
        "Retryable requests to Cores: sent = retried, over_budget = not retried because the "
        "retry budget was used up.",
        "outcome",
    ]
    streams: Annotated[
        Gauge, "Open requests that end when their key is revoked, such as WebSockets.", "livesum"
    ]
    websocket_bytes: Annotated[
        Counter, "Bytes that closed WebSockets received, by sender (client, core).", "sender"
    ]
    change_feed_gaps: Annotated[
        Counter, "Interruptions of the change feed after which its connection was replaced."
    ]
    staleness_seconds: Annotated[
        Gauge, "Age of the key state on which verifications are based.", "livemax"
    ]
    database_age_seconds: Annotated[
        Gauge, "Time since the key state was last read from the database.", "livemax"
    ]
    cached_keys: Annotated[Gauge, "Cached key records in all workers.", "livesum"]
    usage_written: Annotated[Counter, "Verifications that are counted in the database."]
    usage_pending: Annotated[
        Gauge,
        "Usage counts in memory only (by key, Core, code and minute), which would be lost "
        "if the workers were killed.",
        "livesum",
    ]
    background_job_failures: Annotated[Counter, "Failed runs of background jobs, by job.", "job"]
    secrets_due_seconds: Annotated[
        Gauge,
        "Time in seconds since the oldest waiting secret became due for deletion or for the "
        "recording of its events.",
        "livemax",
    ]
    audit_chain_broken: Annotated[
        Counter, "Checkpoints that were not created because the audit chain is broken."
    ]
    audit_checkpoint_timestamp_seconds: Annotated[
        Gauge, "Time of the last checkpoint of the audit chain.", "livemax"
    ]

    #: Workers of the service that were killed and replaced. Set before the worker starts.
    restarts: ClassVar[int] = 0

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "gatehouse_request_seconds",
            "Duration of requests, by service, route and status class.",
            ("service", "route", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            if get_origin(hint) is not ClassVar:
                setattr(self, name, _metric(name, hint, registry))
        #: Spans that the collector did not accept since they were last published.
        self.spans_lost = 0
        self.decision = {code: self.decisions.labels(code.value) for code in Code}
        self._durations: dict[tuple[str, str, int], Histogram] = {}
        self.worker_restarts.set(self.restarts)

    def durations(self, service: str, route: str, status: int) -> Histogram:
        """The durations of the requests to a route with the class of a status."""
        labels = service, route, status // 100
        durations = self._durations.get(labels)
        if durations is None:
            durations = self.request_seconds.labels(service, route, f"{labels[2]}xx")
            self._durations[labels] = durations
        return durations

    def spans(self, outcome: str, count: int) -> None:
        self.trace_spans.labels(outcome).inc(count)
        self.spans_lost += count if outcome == "failed" else 0

    def stream_closed(self, use: StreamUse) -> None:
        self.websocket_bytes.labels("client").inc(use.bytes_from_client)
        self.websocket_bytes.labels("core").inc(use.bytes_from_core)

    async def exposition(self) -> bytes:
        """The response from /metrics: metrics of this process, or of all workers of the service if
        they share a directory. Computed in a thread, which takes up to a quarter of a second.
        """
        registry = self.registry
        if METRICS_FOLDER_VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return await asyncio.to_thread(generate_latest, registry)
