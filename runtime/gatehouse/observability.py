"""What the runtime tells about itself: one JSON line a request, and metrics for Prometheus. Never a token, key or secret.

Lines go to standard output. Metrics of several workers are added up through files in PROMETHEUS_MULTIPROC_DIR, which `server`
sets before a worker starts; that variable has to be there before prometheus_client is imported."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gatehouse.request_log import RANK, RequestLine, Stream
from gatehouse.verification.models import Code

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


METRICS_TYPE = CONTENT_TYPE_LATEST.encode()


#: Seconds. Decisions take well under a millisecond, proxied files may take long.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


Level = Literal["debug", "info", "warning", "error"]


Logger = structlog.typing.FilteringBoundLogger


def logger(level: Level, out: Stream | None = None, **fields: str) -> Logger:
    """A logger of JSON lines with `ts`, `level`, `event` and the given fields on each, to `out` or standard output."""
    renderer = structlog.processors.JSONRenderer(serializer=_serialize)
    context: dict[str, Any] = dict(fields)
    lazy = structlog.wrap_logger(
        structlog.BytesLogger(sys.stdout.buffer if out is None else out),  # type: ignore[arg-type]  # write and flush are all it uses
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
    # Bound now: the lazy form builds a new logger for every line.
    bound: Logger = lazy.bind()
    return bound


def _serialize(event: dict[str, Any], **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


def _exception_name(exc_info: Any) -> str:
    """The class alone: the text of a foreign exception may quote a header or a row."""
    return str(exc_info[0].__name__) if isinstance(exc_info, tuple) and exc_info[0] is not None else "unknown"


class Metrics:
    """Every metric of the runtime. Labels have few values: codes, routes, methods; never ids."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Histogram(
            "gatehouse_request_seconds",
            "Time to answer a request, by service, route and status class.",
            ("service", "route", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.decisions = Counter("gatehouse_decisions_total", "Decisions on keys, by outcome.", ("code",), registry=registry)
        self.limiter_degraded = Counter(
            "gatehouse_limiter_degraded_total",
            "Failures of Redis that the rate limiter answered without.",
            registry=registry,
        )
        self.core_errors = Counter(
            "gatehouse_core_errors_total", "Requests that a Core did not answer, by kind.", ("code",), registry=registry
        )
        self.core_circuit = Counter(
            "gatehouse_core_circuit_total",
            "Changes of the circuits to Cores: open = a Core is left alone, closed = it answers again.",
            ("to",),
            registry=registry,
        )
        self.core_circuits = Gauge(
            "gatehouse_core_circuits_open",
            "Circuits to Cores that are not closed, all workers.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.core_retries = Counter(
            "gatehouse_core_retries_total",
            "Requests to Cores that could be sent again: sent = they were, over_budget = the budget of the Core was used up.",
            ("outcome",),
            registry=registry,
        )
        self.core_cache = Counter(
            "gatehouse_core_cache_total",
            "Plain requests for files: hit = the Core confirmed our copy, changed = it sent another, miss = we had none.",
            ("outcome",),
            registry=registry,
        )
        self.changes_lost = Counter(
            "gatehouse_changes_lost_total",
            "Replacements of the connection that follows key changes.",
            registry=registry,
        )
        self.staleness = Gauge(
            "gatehouse_staleness_seconds",
            "Age of the picture of the keys that decisions are made on.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.cached_keys = Gauge(
            "gatehouse_cached_keys", "Key records in memory, all workers.", multiprocess_mode="livesum", registry=registry
        )
        self.cores = Gauge(
            "gatehouse_cores", "Cores that are known (registered at any time).", multiprocess_mode="livemax", registry=registry
        )
        self.usage_written = Counter(
            "gatehouse_usage_written_total", "Decisions whose count is in the database.", registry=registry
        )
        self.usage_delayed = Counter(
            "gatehouse_usage_delayed_total", "Times that counts of use could not be written and were kept.", registry=registry
        )
        self.usage_waiting = Gauge(
            "gatehouse_usage_waiting",
            "Decisions that are counted in memory alone: what a kill of the workers would lose.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.unusual = Counter("gatehouse_unusual_use_total", "Unusual use of a key, by kind.", ("kind",), registry=registry)
        self.chores_failed = Counter(
            "gatehouse_chores_failed_total",
            "Turns of the console's own work that failed, by chore.",
            ("chore",),
            registry=registry,
        )
        self.slow_queries = Counter(
            "gatehouse_slow_queries_total",
            "Statements that took longer than GATEHOUSE_SLOW_QUERY_THRESHOLD_MS.",
            registry=registry,
        )
        self.trail_broken = Counter(
            "gatehouse_audit_broken_total",
            "Checkpoints that were not taken because the audit trail is broken.",
            registry=registry,
        )
        self.checkpoint = Gauge(
            "gatehouse_audit_checkpoint_timestamp_seconds",
            "When the last checkpoint of the audit trail was taken here.",
            multiprocess_mode="livemax",
            registry=registry,
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
        """The text that /metrics answers: this process, or all workers of the service when they share a folder."""
        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


class Observer:
    """The one place that a service reports to."""

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
        """relevel: makes a log of another level; None when it cannot be changed. level: that of `log`.
        batched: where lines of requests go, many in one write, and the environment that they name; None writes each by `log`.
        """
        self._rank = RANK[level]
        self._batched = batched
        self.service = service
        self.log = log
        self.metrics = metrics
        self._relevel = relevel

    def set_level(self, level: Level) -> None:
        """From now on. Said before and after, so that it is in the log whichever of the two levels hides less."""
        if self._relevel is None:
            return
        self.log.warning("log level", service=self.service, level_now=level)
        self.log, self._rank = self._relevel(level), RANK[level]
        self.log.info("log level", service=self.service, level_now=level)

    def slow_query(self, statement: str, seconds: float) -> None:
        """`statement`: its text without values."""
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
        """One line a request. `path` without the query, which a careless client may have put a key into."""
        self.metrics.request(self.service, route, status, seconds)
        if self._batched is not None:
            level = "error" if status >= 500 and status != 503 else "warning" if status == 503 else "info"
            if RANK[level] >= self._rank:
                stream, environment = self._batched
                ms = round(seconds * 1000, 3)
                told = (environment, request_id, self.service, method, route, path, status, ms, key_id, code, "request", level)
                stream.request(RequestLine(*told, stream.now(), detail))
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
    """Writes a line for CloudWatch to count. Its level is info, yet no setting holds it back: it is a measurement."""
    log = logger("info", out)
    return lambda members: log.info("usage", service=service, **members)


def observer(service: str, level: Level, environment: str, *, stream: Stream | None = None) -> Observer:
    """What a service reports to. `environment` is on every line.

    stream: with it, lines of requests are written many at a time. Not for a function, which is frozen between two requests.
    """

    def relevel(other: Level) -> Logger:
        return logger(other, stream, environment=environment)

    batched = None if stream is None else (stream, environment)
    return Observer(service, relevel(level), Metrics(), relevel, level=level, batched=batched)
