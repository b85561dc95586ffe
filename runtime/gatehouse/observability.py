"""Logs and metrics of the runtime: one JSON line per request and Prometheus metrics. Tokens, keys and secrets are never logged.

Lines are written to standard output. The metrics of several workers are aggregated through files in PROMETHEUS_MULTIPROC_DIR,
which http/server.py sets before a worker starts; the variable must be set before prometheus_client is imported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Literal

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gatehouse.verification.models import Code

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

METRICS_TYPE = CONTENT_TYPE_LATEST.encode()

#: Seconds. A verification takes well under a millisecond, a proxied file may take long.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Level = Literal["debug", "info", "warning", "error"]

Logger = structlog.typing.FilteringBoundLogger


def logger(level: Level, out: Stream | None = None, **fields: str) -> Logger:
    """A logger of JSON lines with `ts`, `level`, `event` and `fields`, to `out` or standard output."""
    renderer = structlog.processors.JSONRenderer(serializer=_serialize)
    context: dict[str, Any] = dict(fields)
    lazy = structlog.wrap_logger(
        structlog.BytesLogger(sys.stdout.buffer if out is None else out),  # type: ignore[arg-type]  # uses write and flush only
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.ExceptionRenderer(_exception_name),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
        **context,
    )
    # The lazy form would build a new logger for every line.
    bound: Logger = lazy.bind()
    return bound


def _serialize(event: dict[str, Any], **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


def _exception_name(exc_info: Any) -> str:
    """The class name only: the text of an exception may contain a header or a row."""
    return str(exc_info[0].__name__) if isinstance(exc_info, tuple) and exc_info[0] is not None else "unknown"


#: Longest time that a line waits, and size that is written immediately.
FLUSH_S = 0.01

FLUSH_BYTES = 65_536

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40

RANK = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """`path` is without the query, because clients may put a token into it by mistake. `ms`: duration in milliseconds."""

    environment: str
    request_id: str
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


class Stream:
    """Output of log lines: request lines are written in batches, other lines immediately and in order."""

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._out: BinaryIO = sys.stdout.buffer if out is None else out
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._encoder = msgspec.json.Encoder()
        self._second = 0
        self._clock = ""

    def request(self, line: RequestLine) -> None:
        """Adds a line; without a running event loop it is written immediately."""
        self._waiting += self._encoder.encode(line)
        self._waiting += b"\n"
        if len(self._waiting) >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
            except RuntimeError:
                self.flush()

    def write(self, data: bytes) -> int:
        """Adds another line, as structlog does; `flush` writes it."""
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Writes all waiting lines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            data, self._waiting = bytes(self._waiting), bytearray()
            self._out.write(data)
            self._out.flush()

    def now(self) -> str:
        """Time stamp of a line: RFC 3339 in UTC with microseconds."""
        seconds = time.time()
        second = int(seconds)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._clock}.{int((seconds - second) * 1_000_000):06d}Z"


class Metrics:
    """Metrics of the runtime. Labels have few values: codes, routes, methods; never ids."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, description: str, *labels: str) -> Counter:
            return Counter(name, description, labels, registry=registry)

        def gauge(name: str, description: str, mode: Literal["livesum", "livemax"]) -> Gauge:
            return Gauge(name, description, registry=registry, multiprocess_mode=mode)

        description = "Time to answer a request, by service, route and status class."
        labels = ("service", "route", "status")
        self.requests = Histogram("gatehouse_request_seconds", description, labels, buckets=_BUCKETS, registry=registry)
        self.decisions = counter("gatehouse_decisions_total", "Verifications of API keys, by outcome code.", "code")
        self.rate_limiter_degraded = counter(
            "gatehouse_rate_limiter_degraded_total", "Redis failures of the rate limiter, after which it used its fallback."
        )
        self.core_errors = counter("gatehouse_core_errors_total", "Requests to Cores that failed, by error code.", "code")
        self.circuit_breaker_transitions = counter(
            "gatehouse_circuit_breaker_transitions_total",
            "State changes of the circuit breakers of Cores, by new state (open, closed).",
            "state",
        )
        self.circuit_breakers_open = gauge(
            "gatehouse_circuit_breakers_open", "Circuit breakers of Cores that are not closed, in all workers.", "livesum"
        )
        self.core_retries = counter(
            "gatehouse_core_retries_total",
            "Retryable requests to Cores: sent = retried, over_budget = the retry budget was used up.",
            "outcome",
        )
        self.core_cache = counter(
            "gatehouse_core_cache_total",
            "Cacheable requests to Cores: hit = revalidated (304), changed = new response, miss = not in the cache.",
            "outcome",
        )
        self.change_feed_gaps = counter(
            "gatehouse_change_feed_gaps_total", "Interruptions of the change feed, after which its connection was replaced."
        )
        self.staleness = gauge("gatehouse_staleness_seconds", "Age of the key state on which verifications are based.", "livemax")
        self.cached_keys = gauge("gatehouse_cached_keys", "Cached key records in all workers.", "livesum")
        self.cores = gauge("gatehouse_cores", "Known Cores, including those whose lease has expired.", "livemax")
        self.usage_written = counter("gatehouse_usage_written_total", "Verifications that are counted in the database.")
        self.usage_write_failures = counter(
            "gatehouse_usage_write_failures_total", "Failed writes of usage counts, which are retried."
        )
        self.usage_pending = gauge(
            "gatehouse_usage_pending",
            "Verifications that are counted in memory only and would be lost if the workers were killed.",
            "livesum",
        )
        self.unusual = counter("gatehouse_unusual_use_total", "Unusual uses of API keys, by kind.", "kind")
        self.background_job_failures = counter(
            "gatehouse_background_job_failures_total", "Failed runs of the console's background jobs, by job.", "job"
        )
        self.slow_queries = counter(
            "gatehouse_slow_queries_total", "SQL statements that took longer than GATEHOUSE_SLOW_QUERY_THRESHOLD_MS."
        )
        self.audit_chain_broken = counter(
            "gatehouse_audit_chain_broken_total", "Checkpoints that were not created because the audit chain is broken."
        )
        self.checkpoint = gauge(
            "gatehouse_audit_checkpoint_timestamp_seconds", "Time of the last checkpoint of the audit chain.", "livemax"
        )
        self.by_code = {code: self.decisions.labels(code.value) for code in Code}
        self._routes: dict[tuple[str, str, int], Histogram] = {}

    def request(self, service: str, route: str, status: int, seconds: float) -> None:
        key = (service, route, status // 100)
        child = self._routes.get(key)
        if child is None:
            child = self._routes[key] = self.requests.labels(service, route, f"{status // 100}xx")
        child.observe(seconds)

    def exposition(self) -> bytes:
        """The response of /metrics: of this process, or of all workers of the service if they share a directory."""
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        aggregated = CollectorRegistry()
        MultiProcessCollector(aggregated)  # type: ignore[no-untyped-call]
        return generate_latest(aggregated)


class Observer:
    """Logs and metrics of a service."""

    def __init__(
        self,
        service: str,
        log: Logger,
        metrics: Metrics,
        relevel: Callable[[Level], Logger] | None = None,
        *,
        level: Level = "info",
        batched: tuple[Stream, str] | None = None,
    ) -> None:
        """relevel: creates a logger with another level; None if the level cannot be changed. level: level of `log`.

        batched: stream for request lines, which writes many at a time, and their `environment`; None writes each line with `log`.
        """
        self._rank = RANK[level]
        self._batched = batched
        self.service = service
        self.log = log
        self.metrics = metrics
        self._relevel = relevel

    def set_level(self, level: Level) -> None:
        """Changes the log level. Logged before and after, so that it appears at the more verbose of the two levels."""
        if self._relevel is None:
            return
        self.log.warning("log level", service=self.service, level_now=level)
        self.log, self._rank = self._relevel(level), RANK[level]
        self.log.info("log level", service=self.service, level_now=level)

    def slow_query(self, statement: str, seconds: float) -> None:
        """`statement`: SQL text without values."""
        self.metrics.slow_queries.inc()
        self.log.warning("slow query", service=self.service, statement=statement, ms=round(seconds * 1000, 1))

    def request(
        self,
        *,
        request_id: str,
        method: str,
        route: str,
        path: str,
        status: int,
        seconds: float,
        key_id: str | None = None,
        code: str | None = None,
        detail: str = "",
    ) -> None:
        """Logs a request. `path` is without the query, because clients may put a token into it by mistake."""
        self.metrics.request(self.service, route, status, seconds)
        if self._batched is not None:
            level = "error" if status >= 500 and status != 503 else "warning" if status == 503 else "info"
            if RANK[level] >= self._rank:
                stream, environment = self._batched
                ms = round(seconds * 1000, 3)
                values = (environment, request_id, self.service, method, route, path, status, ms, key_id, code, "request", level)
                stream.request(RequestLine(*values, stream.now(), detail))
            return
        fields: dict[str, Any] = {"detail": detail} if detail else {}
        emit = self.log.error if status >= 500 and status != 503 else self.log.warning if status == 503 else self.log.info
        emit(
            "request",
            request_id=request_id,
            service=self.service,
            method=method,
            route=route,
            path=path,
            status=status,
            ms=round(seconds * 1000, 3),
            key_id=key_id,
            code=code,
            **fields,
        )


def metric_lines(service: str, out: Stream | None = None) -> Callable[[dict[str, Any]], None]:
    """Writes metric lines for CloudWatch, regardless of the configured log level."""
    log = logger("info", out)
    return lambda members: log.info("usage", service=service, **members)


def observer(service: str, level: Level, environment: str, *, stream: Stream | None = None) -> Observer:
    """Creates the observer of a service. `environment` is a field of every line.

    stream: writes request lines in batches; None for Lambda, which freezes the process between two requests.
    """

    def relevel(level: Level) -> Logger:
        return logger(level, stream, environment=environment)

    batched = None if stream is None else (stream, environment)
    return Observer(service, relevel(level), Metrics(), relevel, level=level, batched=batched)
