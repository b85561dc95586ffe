"""Writes the logs of the runtime to standard output, one JSON line per request, and counts
requests. Tokens, keys and secrets are never logged.
"""

import asyncio
import sys
import time
import traceback
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple, Protocol

import msgspec

from gatehouse.core.clock import rounded, timestamp
from gatehouse.core.log_levels import Level
from gatehouse.platform.metrics import Metrics, StreamUse
from gatehouse.platform.settings import PUBLISH_S
from gatehouse.platform.tracing.context import RequestTrace
from gatehouse.platform.tracing.tracer import Tracer, current_request

#: Maximum time that a batched line waits, and the number of waiting lines at which they are written
#: immediately.
FLUSH_S = 0.01
FLUSH_LINES = 200

#: Duration in seconds, without the time of a Core, above which a request is slow.
SLOW_S = 1.0

#: Requests of load balancers and scrapers, which the metrics in CloudWatch do not count.
_OPERATIONAL = ("/healthz", "/readyz", "/metrics")

_encoder = msgspec.json.Encoder()
_LEVELS: dict[Level, int] = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class LoggedRequest(Protocol):
    """A request whose log line is written later.

    route: path template. logged_path: without the query, because clients may put a token into the
    query by mistake. core_seconds: the part of its duration for which a Core was responsible; None
    if the service itself produced the response.
    """

    @property
    def trace(self) -> RequestTrace: ...
    @property
    def logged_method(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def logged_path(self) -> str: ...
    @property
    def core_seconds(self) -> float | None: ...
    @property
    def key_id(self) -> str | None: ...
    @property
    def code(self) -> str | None: ...
    @property
    def detail(self) -> str: ...
    @property
    def stream_use(self) -> StreamUse | None: ...


class _Ended(NamedTuple):
    """A request that is counted and logged when the waiting lines are written: less often, and
    several at once.
    """

    request: LoggedRequest
    status: int
    seconds: float
    at_ns: int
    observer: "Observer"


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
        self._waiting: list[bytes | _Ended] = []
        self._timer: asyncio.TimerHandle | None = None

    def request(self, ended: _Ended) -> None:
        """Adds a request. It is processed immediately if lines are not batched or no event loop is
        running.
        """
        self._waiting.append(ended)
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
            content = b"".join(
                [each if isinstance(each, bytes) else each.observer.ended(each) for each in lines]
            )
            with suppress(OSError):  # such as a full disk, with which requests succeed
                self._out.write(content)
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
    publish_s: interval at which slow requests are published. 0 for Lambda, which freezes the
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
    ) -> None:
        self._namespace, self._publish_s = namespace, publish_s
        self._slow, self._published_at = 0, time.monotonic()
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

    async def exposition(self) -> bytes:
        """The response from /metrics."""
        self._stream.flush()
        return await self.metrics.exposition()

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

    def _count(self, route: str, seconds: float, core_seconds: float | None) -> None:
        """Counts a slow request for the alarm on latency, without the time of a Core. Health checks
        trigger the publication of the count also without other requests. Failed requests are
        counted where clients receive them (platform/supervisor.py, of a function API Gateway).
        """
        if route not in _OPERATIONAL:
            self._slow += seconds - (core_seconds or 0.0) > SLOW_S
        if time.monotonic() - self._published_at >= self._publish_s:
            self.publish_slow_requests()

    def publish_slow_requests(self) -> None:
        self._stream.flush()
        slow, self._slow, self._published_at = self._slow, 0, time.monotonic()
        if slow:
            self.publish({"SlowRequests": slow}, "Count")

    def request(self, request: LoggedRequest, status: int, seconds: float) -> None:
        """Logs a request, counts it in the metrics, and records its span if it is sampled: all of
        this soon. seconds: its duration.
        """
        self._stream.request(_Ended(request, status, seconds, time.time_ns(), self))

    def ended(self, ended: _Ended) -> bytes:
        """Counts a request. Returns its log line, or nothing under a higher log level."""
        request, status, seconds, at_ns, _ = ended
        route, trace = request.route, request.trace
        if self._namespace:
            self._count(route, seconds, request.core_seconds)
        self.metrics.durations(self.service, route, status).observe(seconds)
        if self.tracer.is_enabled and trace.sampled:
            self.tracer.request(
                trace,
                method=request.logged_method,
                route=route,
                status=status,
                seconds=seconds,
                key_id=request.key_id,
                code=request.code,
            )
        level = _level(status)
        if not self.log.writes(level):
            return b""
        line = RequestLine(
            self.environment,
            trace.request_id,
            trace.trace_id,
            self.service,
            request.logged_method,
            route,
            request.logged_path,
            status,
            rounded(seconds * 1000),
            request.key_id,
            request.code,
            "request",
            level,
            timestamp(at_ns),
            request.detail,
            request.stream_use,
        )
        return _encoder.encode(line) + b"\n"


def _level(status: int) -> Level:
    return "info" if status < 500 else "warning" if status == 503 else "error"


def origin_of(exc: BaseException) -> str:
    """Stack frames of an exception, the last one first. The text of the exception is omitted,
    because it may contain secret values."""
    frames = traceback.extract_tb(exc.__traceback__)[-6:]
    return " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
    )
