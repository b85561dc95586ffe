"""Writes the logs (one JSON line per request) and Prometheus metrics of the runtime. Tokens, keys
and secrets are never logged.

Lines are written to standard output. Several workers aggregate their metrics through files in a
folder. platform/supervisor.py specifies the folder before a worker imports prometheus_client.
"""

import asyncio
import os
import sys
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, ClassVar, Literal

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

from gatehouse.core.clock import rounded, timestamp
from gatehouse.core.verification import Code
from gatehouse.platform.settings import METRICS_FOLDER_VARIABLE, Level
from gatehouse.platform.tracing.context import RequestTrace
from gatehouse.platform.tracing.tracer import Tracer, current_request

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

#: Maximum time that a batched line waits, and the number of waiting lines at which they are written
#: immediately.
FLUSH_S = 0.01
FLUSH_LINES = 200

#: Interval at which a worker adds its counts to the files that all workers share.
SHARE_S = 1.0

#: Interval at which a worker publishes its counts of requests to CloudWatch.
PUBLISH_S = 15.0

#: Duration in seconds, without the time of a Core, above which a request is slow.
SLOW_S = 1.0

#: Time after its start for which a worker publishes its requests to Cores as those of a new task,
#: which an alarm compares with those of the other tasks: longer than a deployment shifts traffic.
NEW_TASK_S = 1800.0

#: Requests of load balancers and scrapers, which the metrics in CloudWatch do not count.
_OPERATIONAL = ("/healthz", "/readyz", "/metrics")

#: Content type of the metrics.
METRICS_TYPE = CONTENT_TYPE_LATEST

#: Otherwise each counter has a second metric, its time of creation, which CloudWatch bills.
disable_created_metrics()  # type: ignore[no-untyped-call]

_encoder = msgspec.json.Encoder()
_LEVELS: dict[Level, int] = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class StreamUse(msgspec.Struct, frozen=True, gc=False):
    """Use of a WebSocket, for its log line and the metrics. The numbers of bytes include the
    headers of frames.
    """

    bytes_from_client: int
    bytes_from_core: int


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """Log line of a request. `path` excludes the query, because clients may put a token into the
    query by mistake. `ms`: duration in milliseconds."""

    environment: str
    request_id: str
    trace_id: str
    service: str
    method: str
    route: str
    path: str
    status: int
    ms: float
    key_id: str | None
    code: str | None
    event: str
    level: str
    ts: str
    detail: str = ""
    websocket: StreamUse | None = None


class Stream:
    """Writes log lines in order. Batched request lines are written together; other lines are
    written immediately.
    """

    def __init__(self, out: BinaryIO | None = None, *, batched: bool = False) -> None:
        """out: standard output by default. batched: False for Lambda, which freezes the process
        between requests.
        """
        self._out: BinaryIO = sys.stdout.buffer if out is None else out
        self._batched = batched
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def request(self, line: bytes) -> None:
        """Adds a line. It is written immediately if lines are not batched or no event loop is
        running.
        """
        self._waiting.append(line)
        if not self._batched or len(self._waiting) >= FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
            except RuntimeError:
                self.flush()

    def write(self, line: bytes) -> None:
        """Writes the waiting lines and any other line."""
        self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            lines, self._waiting = self._waiting, []
            with suppress(OSError):  # such as a full disk, with which requests succeed
                self._out.write(b"".join(lines))
                self._out.flush()


class Logger:
    """Writes JSON lines with `fields`, the fields of each line (`info("event", field=1)`), and the
    IDs of the request that the current task handles. Lines below `level` are omitted.
    """

    def __init__(self, level: Level, out: Stream, **fields: str) -> None:
        self._level = _LEVELS[level]
        self._out = out
        self._fields = fields

    def writes(self, level: Level) -> bool:
        return _LEVELS[level] >= self._level

    def debug(self, event: str, **fields: object) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if not self.writes(level):
            return
        line = {**self._fields, **fields, "event": event, "level": level}
        request = current_request()
        if request is not None:
            line.setdefault("request_id", request.trace.request_id)
            line.setdefault("trace_id", request.trace.trace_id)
        line["ts"] = timestamp(time.time_ns())
        self._out.write(msgspec.json.encode(line, enc_hook=str) + b"\n")


def add_observations(histogram: Histogram, counts: Sequence[int], sums_s: Sequence[float]) -> None:
    """Adds observations to a histogram at once. counts, sums_s: number and sum of the observations
    of each bucket, without those of lower buckets.

    The buckets and the sum of a histogram are private in prometheus_client. If a version does not
    have them, each observation is added separately, as the mean of its bucket.
    """
    try:
        total, buckets = histogram._sum, histogram._buckets  # noqa: SLF001
    except AttributeError:
        for count, sum_s in zip(counts, sums_s, strict=True):
            for _ in range(count):
                histogram.observe(sum_s / count)
        return
    total.inc(sum(sums_s))
    for bucket, count in zip(buckets, counts, strict=True):
        if count:
            bucket.inc(count)


class Durations:
    """Durations of requests with the same labels, since they were last added to the histogram."""

    __slots__ = ("_counts", "_histogram", "_sums_s")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._counts, self._sums_s = [0] * (len(_BUCKETS) + 1), [0.0] * (len(_BUCKETS) + 1)

    def observe(self, seconds: float) -> None:
        bucket = bisect_left(_BUCKETS, seconds)
        self._counts[bucket] += 1
        self._sums_s[bucket] += seconds

    def flush(self) -> None:
        add_observations(self._histogram, self._counts, self._sums_s)
        self._counts, self._sums_s = [0] * len(self._counts), [0.0] * len(self._sums_s)


class Metrics:
    """Metrics of the runtime. Labels have few values, such as codes, routes and methods, and never
    contain IDs.

    Requests are counted in memory, and added to the metrics when the metrics are read. A worker
    that shares the metrics of its service also adds them every SHARE_S.
    """

    #: Workers of the service that were killed and replaced. Set before the worker starts.
    restarts: ClassVar[int] = 0

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._routes: dict[tuple[str, str, int], Durations] = {}
        self._counts: Counts[tuple[Counter, str]] = Counts()
        self._shared = METRICS_FOLDER_VARIABLE in os.environ
        self._timer: asyncio.TimerHandle | None = None
        count = self._counter
        last, total = partial(self._gauge, "livemax"), partial(self._gauge, "livesum")
        self._requests = Histogram(
            "gatehouse_request_seconds",
            "Duration of requests, by service, route and status class.",
            ("service", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._decisions = count("decisions", "Verifications of API keys, by outcome code.", "code")
        for code in Code:
            self._decisions.labels(code.value)
        self.rate_limiter_degraded = count(
            "rate_limiter_degraded",
            "Redis failures after which the rate limiter used its fallback.",
        )
        self._spans = count(
            "trace_spans",
            "Spans of traces: exported, failed = not accepted by the collector.",
            "outcome",
        )
        last(
            "worker_restarts",
            "Workers of the service that were killed and replaced since the container started.",
        ).set(self.restarts)
        self.cores = last("cores", "Known Cores, including those whose lease has expired.")
        self.core_errors = count(
            "core_errors", "Requests to Cores that failed, by error code.", "code"
        )
        self.core_responses = count(
            "core_responses", "Responses of Cores, by status class.", "status"
        )
        self.circuit_breakers_open = total(
            "circuit_breakers_open",
            "Instances of Cores that receive no requests for some time, after failures.",
        )
        self.unhealthy_instances = total(
            "unhealthy_instances", "Instances of Cores whose health checks fail."
        )
        self.requests_in_progress = total("requests_in_progress", "Requests to Cores in progress.")
        self.completions_malformed = count(
            "completions_malformed",
            "Lines of the proxy about ended requests that could not be read.",
        )
        self.core_retries = count(
            "core_retries",
            "Retryable requests to Cores: sent = retried, over_budget = not retried because "
            "the retry budget was used up.",
            "outcome",
        )
        self.streams = total(
            "streams", "Open requests that end when their key is revoked, such as WebSockets."
        )
        self.stream_bytes = count(
            "websocket_bytes",
            "Bytes that closed WebSockets received, by sender (client, core).",
            "sender",
        )
        self.change_feed_gaps = count(
            "change_feed_gaps",
            "Interruptions of the change feed after which its connection was replaced.",
        )
        self.staleness = last(
            "staleness_seconds", "Age of the key state on which verifications are based."
        )
        self.database_age = last(
            "database_age_seconds", "Time since the key state was last read from the database."
        )
        self.cached_keys = total("cached_keys", "Cached key records in all workers.")
        self.usage_written = count(
            "usage_written", "Verifications that are counted in the database."
        )
        self.usage_pending = total(
            "usage_pending",
            "Usage counts in memory only (by key, Core, code and minute), which would be lost "
            "if the workers were killed.",
        )
        self.background_job_failures = count(
            "background_job_failures", "Failed runs of background jobs, by job.", "job"
        )
        self.secrets_due = last(
            "secrets_due_seconds",
            "Time in seconds since the oldest waiting secret became due for deletion or for "
            "the recording of its events.",
        )
        self.audit_chain_broken = count(
            "audit_chain_broken",
            "Checkpoints that were not created because the audit chain is broken.",
        )
        self.checkpoint = last(
            "audit_checkpoint_timestamp_seconds", "Time of the last checkpoint of the audit chain."
        )

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"gatehouse_{name}_total", description, labels, registry=self.registry)

    def _gauge(self, mode: Literal["livesum", "livemax"], name: str, description: str) -> Gauge:
        return Gauge(
            f"gatehouse_{name}", description, registry=self.registry, multiprocess_mode=mode
        )

    def durations(self, service: str, route: str, status: int) -> Durations:
        """The durations of the requests to a route with the class of a status."""
        key = (service, route, status // 100)
        durations = self._routes.get(key)
        if durations is None:
            durations = self._routes[key] = Durations(
                self._requests.labels(service, route, f"{status // 100}xx")
            )
        self._share_later()
        return durations

    def count(self, counter: Counter, label: str) -> None:
        """Counts a request with the label of a counter."""
        self._counts[counter, label] += 1
        if self._shared:
            self._share_later()

    def decision(self, code: Code) -> None:
        self.count(self._decisions, code)

    def spans(self, outcome: str, count: int) -> None:
        self._spans.labels(outcome).inc(count)

    def _share_later(self) -> None:
        if self._shared and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SHARE_S, self.flush)

    def flush(self) -> None:
        self._timer = None
        for durations in self._routes.values():
            durations.flush()
        for (counter, label), count in self._counts.items():
            counter.labels(label).inc(count)
        self._counts.clear()

    def stream_closed(self, use: StreamUse) -> None:
        self.stream_bytes.labels("client").inc(use.bytes_from_client)
        self.stream_bytes.labels("core").inc(use.bytes_from_core)

    async def exposition(self) -> bytes:
        """The response from /metrics: metrics of this process, or of all workers of the service if
        they share a directory. Computed in a thread, which takes up to a quarter of a second.
        """
        self.flush()
        registry = self.registry
        if self._shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return await asyncio.to_thread(generate_latest, registry)


def embedded_metrics(
    namespace: str,
    metrics: dict[str, float],
    dimensions: dict[str, str],
    sets: list[list[str]],
    *,
    at: float,
    unit: str = "Count",
) -> dict[str, Any]:
    """Members of a log line from which CloudWatch creates metrics, for each set of names of
    dimensions. `at`: Unix seconds.

    Format:
        docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    directive = {
        "Namespace": namespace,
        "Dimensions": sets,
        "Metrics": [{"Name": name, "Unit": unit} for name in metrics],
    }
    metadata = {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": metadata, **dimensions, **metrics}


class Observer:
    """Logs, metrics and traces of a service. `service` and `environment` are fields of every line.

    namespace: CloudWatch namespace. If it is empty, no metrics are published.
    publish_s: interval at which counts of requests are published. 0 for Lambda, which freezes the
        process between requests.
    """

    def __init__(
        self,
        service: str,
        level: Level,
        environment: str,
        stream: Stream | None = None,
        *,
        namespace: str = "",
        publish_s: float = PUBLISH_S,
        new_task_s: float = NEW_TASK_S,
    ) -> None:
        self._namespace, self._publish_s = namespace, publish_s
        self._new_task_s = new_task_s
        self._requests = self._failures = self._slow = 0
        self._core_requests = self._core_errors = 0
        self._started_at = self._published_at = time.monotonic()
        self.service = service
        self.environment = environment
        self.metrics = Metrics()
        #: Replaced if the settings enable tracing.
        self.tracer = Tracer()
        self._stream = Stream() if stream is None else stream
        self.log = self._logger(level)
        self._metric_log = Logger("info", self._stream, service=service)

    def set_level(self, level: Level) -> None:
        """Changes the log level. The change is logged before and after it takes effect, so that it
        is logged under the more verbose level."""
        self.log.warning("log level", level_now=level)
        self.log = self._logger(level)
        self.log.info("log level", level_now=level)

    def _logger(self, level: Level) -> Logger:
        return Logger(level, self._stream, service=self.service, environment=self.environment)

    def metric_line(self, members: dict[str, Any], *, event: str = "usage") -> None:
        """Writes a metric line for CloudWatch, regardless of the log level."""
        self._metric_log.info(event, **members)

    def publish(self, metrics: dict[str, float], unit: str = "Seconds", **more: str) -> None:
        """Publishes values of the service to CloudWatch, which its alarms evaluate. more: other
        dimensions.
        """
        if self._namespace:
            dimensions = {"Service": self.service, **more}
            self.metric_line(
                embedded_metrics(
                    self._namespace, metrics, dimensions, [[*dimensions]], at=time.time(), unit=unit
                ),
                event="metrics",
            )

    def _count(self, route: str, status: int, seconds: float, core_seconds: float | None) -> None:
        """Counts a request for the alarms on errors and latency of the service itself: neither a
        failed nor a slow Core counts. Health checks trigger the publication of the counts also
        without other requests.
        """
        if route not in _OPERATIONAL:
            self._requests += 1
            self._failures += status >= 500 and core_seconds is None
            self._slow += seconds - (core_seconds or 0.0) > SLOW_S
            if core_seconds is not None:
                self._core_requests += 1
                self._core_errors += status >= 500
        if time.monotonic() - self._published_at >= self._publish_s:
            self.publish_requests()

    def check_failed(self) -> None:
        """Counts a request that the gateway could not decide on in time."""
        self._requests += 1
        self._failures += 1

    def publish_requests(self) -> None:
        counts: dict[str, float] = {
            "Requests": self._requests,
            "FailedRequests": self._failures,
            "SlowRequests": self._slow,
        }
        self._requests = self._failures = self._slow = 0
        self._published_at = time.monotonic()
        self.publish(counts, "Count")
        if self._core_requests:
            counts = {"CoreResults": self._core_requests, "CoreErrors": self._core_errors}
            is_new = self._published_at - self._started_at < self._new_task_s
            self.publish(counts, "Count", Tasks="new" if is_new else "other")
            self._core_requests = self._core_errors = 0

    def request(
        self,
        trace: RequestTrace,
        method: str,
        route: str,
        path: str,
        status: int,
        seconds: float,
        *,
        core_seconds: float | None = None,
        key_id: str | None = None,
        code: str | None = None,
        detail: str = "",
        websocket: StreamUse | None = None,
    ) -> None:
        """Logs a request, counts it in the metrics, and records its span if it is sampled. `path`
        excludes the query, because clients may put a token into the query by mistake.
        `core_seconds`: the part of `seconds` for which a Core was responsible; None if the service
        itself produced the response.
        """
        if self._namespace:
            self._count(route, status, seconds, core_seconds)
        self.metrics.durations(self.service, route, status).observe(seconds)
        level: Level = "info" if status < 500 else "warning" if status == 503 else "error"
        if self.log.writes(level):
            line = RequestLine(
                self.environment,
                trace.request_id,
                trace.trace_id,
                self.service,
                method,
                route,
                path,
                status,
                rounded(seconds * 1000),
                key_id,
                code,
                "request",
                level,
                timestamp(time.time_ns()),
                detail,
                websocket,
            )
            self._stream.request(_encoder.encode(line) + b"\n")
        if trace.sampled:
            labels = {"method": method, "route": route}
            self.tracer.request(
                trace, **labels, status=status, seconds=seconds, key_id=key_id, code=code
            )
