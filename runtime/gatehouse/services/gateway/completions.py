"""What happens at the end of a request to a Core: its log line, metrics, spans and refund.

Envoy reports the end (access_log.py). The check keeps what the report does not contain.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gatehouse.core.clock import monotonic
from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import CoreTimeout, GatehouseError, TooManyRequests
from gatehouse.core.http.forwarding import CORES
from gatehouse.core.http.origin import parse_base_url
from gatehouse.core.keys import KeyId, KeyRecord
from gatehouse.core.verification import VerificationRequest
from gatehouse.features.cores.reports import InstanceTraffic
from gatehouse.features.cores.schemas import CoreProblem
from gatehouse.features.verification.service import VerificationService
from gatehouse.platform.envoy.bootstrap import ALIVE_S, DECISION_S, IN_PROGRESS
from gatehouse.platform.envoy.core_errors import CORE_ERRORS
from gatehouse.platform.metrics import StreamUse
from gatehouse.platform.observability import Observer
from gatehouse.platform.pending import Pending
from gatehouse.platform.web.request import Request

#: Path template of requests to Cores.
PATH = f"{CORES}{{name}}/{{path}}"

#: Time after which a request without a line is no longer in progress: several lines of it are lost.
LOST_S = 4.5 * ALIVE_S

#: Time in which the line of the other part of a relayed request follows.
OTHER_PART_S = 2.0

_ERRORS: dict[str, GatehouseError] = {
    flag: error for error, *flags in CORE_ERRORS for flag in flags
}


class Allowed(msgspec.Struct, frozen=True, gc=False):
    """What the check knows of an allowed request. began: `perf_counter()` before the decision."""

    key: KeyRecord
    request: VerificationRequest
    core: str
    began: float


class Line(msgspec.Struct, frozen=True, gc=False):
    """A line of the access log, with the fields of `bootstrap.LOG_FIELDS`.

    kind: `request`, or `core` for its part behind the relay. flags: response flags of Envoy,
    comma-separated. before_us: time until the first byte of the last attempt was sent to a Core or
    the relay; None if none was sent. core_us: time until the response began. upstream_sent: bytes
    that all attempts have sent.
    """

    kind: str
    type: str = ""
    request_id: str = ""
    key_id: str = ""
    status: int = 0
    flags: str = ""
    details: str = ""
    ms: float = 0
    before_us: float | None = None
    core_us: float | None = None
    attempts: int = 0
    upstream_sent: int = 0
    instance: str = ""
    received: int = 0
    sent: int = 0
    cause: str = ""

    @property
    def is_sent(self) -> bool:
        """True if a Core may have received a part of the request."""
        return self.before_us is not None or self.upstream_sent > 0

    @property
    def error(self) -> GatehouseError | None:
        """The error of the Core that Envoy responded with."""
        if not self.flags:
            return None
        flags = self.flags.split(",")
        error = next((_ERRORS[flag] for flag in _ERRORS if flag in flags), None)
        # Envoy also sets SI if a client does not read or send, but with another status.
        is_idle = isinstance(error, CoreTimeout) and self.status != error.status
        return None if is_idle else error

    def problem(self, error: GatehouseError) -> str:
        return " ".join(text for text in (error.code, self.cause, self.details) if text)


#: Parts of the error code, or of Envoy's texts with the error of the operating system or of the TLS
#: library, and why a request to a Core failed.
_PROBLEMS: tuple[tuple[str, CoreProblem], ...] = (
    ("core_malformed", "malformed"),
    ("core_overloaded", "overloaded"),
    *(("tls", "tls"), ("refused", "refused"), ("timeout", "timeout"), ("timed out", "timeout")),
    ("connection_termination", "closed"),
)


def problem_of(detail: str) -> CoreProblem:
    """Why a request to a Core failed. detail: error code and texts of Envoy."""
    text = detail.lower()
    return next((problem for part, problem in _PROBLEMS if part in text), "unreachable")


@dataclass(slots=True)
class _InProgress:
    context: Request
    allowed: Allowed
    started: float
    is_relayed: bool
    line: Line | None = None
    at_core: Line | None = None


@dataclass(slots=True, eq=False)
class Completions:
    """The requests to Cores that a worker has allowed, until their lines have been read.

    requests_max: maximum number of requests of a key and its rotations in progress. find_instance:
    the record of an instance of a Core.
    """

    observer: Observer
    verification: VerificationService
    traffic: InstanceTraffic
    requests_max: int
    find_instance: Callable[[str, str], CoreRecord | None]
    #: Requests whose end was not reported, since they were published.
    lines_lost: int = 0
    clock: Callable[[], float] = monotonic
    _by_id: Pending[str, _InProgress] = field(init=False)
    _by_key: Counter[str] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._by_id = Pending(LOST_S, self._expired, self.clock)

    def __len__(self) -> int:
        return len(self._by_id)

    def begin(self, context: Request, allowed: Allowed, *, is_relayed: bool) -> None:
        """Counts a request until Envoy reports its end. Raises TooManyRequests."""
        subject = allowed.key.subject
        if self._by_key[subject] >= self.requests_max:
            raise TooManyRequests(
                f"The API key and its rotations have {self.requests_max} requests in progress."
            )
        self._by_key[subject] += 1
        entry = _InProgress(context, allowed, time.perf_counter(), is_relayed)
        self._by_id.add(context.request_id, entry)

    def disconnected(self, request_id: str) -> None:
        """Envoy has ended the connection of the check, because the client disconnected in the
        meantime: nothing was forwarded, and the request has no line.
        """
        entry = self._by_id.get(request_id)
        if entry is None or entry.line or time.perf_counter() - entry.started > DECISION_S:
            return
        self._release(entry.allowed.key.subject)
        self._end(entry, Line("request", flags="DC"))

    def expire(self) -> None:
        """Ends the requests whose lines were lost. Called when the pipe is empty."""
        self._by_id.expire()

    def _expired(self, entry: _InProgress) -> None:
        """Whether a Core has received the request is not known, so its credits are not returned."""
        context = entry.context
        self.lines_lost += 1
        self.observer.metrics.expired.labels("requests in progress").inc()
        if entry.line is None:
            self._release(entry.allowed.key.subject)
        context.status = 0
        context.detail = "the proxy did not report the end of the request"
        context.record(time.perf_counter() - entry.started)

    def _release(self, subject: str) -> None:
        self._by_key[subject] -= 1
        if not self._by_key[subject]:
            del self._by_key[subject]

    def ended(self, request_id: str, line: Line) -> None:
        """Processes what Envoy reports of a request: that it has ended, that its part behind the
        relay has, or that it is still in progress.
        """
        if line.type == IN_PROGRESS:
            self._by_id.renew(request_id)
            return
        entry = self._by_id.get(request_id)
        if line.kind != "core":
            self._ended(entry, line)
        elif entry is not None:
            entry.at_core = line
            if entry.line is not None:
                self._end(entry, entry.line)

    def _ended(self, entry: _InProgress | None, line: Line) -> None:
        """The client has received the response, or has disconnected. Of a relayed request, the line
        of its other part can follow, or none if it has no other part.
        """
        if entry is None:
            self._end_unknown(line)
            return
        self._release(entry.allowed.key.subject)
        if entry.is_relayed and entry.at_core is None:
            entry.line = line
            asyncio.get_running_loop().call_later(OTHER_PART_S, self._end, entry, line)
        else:
            self._end(entry, line)

    def _end(self, entry: _InProgress, line: Line) -> None:
        allowed, context = entry.allowed, entry.context
        if self._by_id.pop(context.request_id) is None:
            return
        at_core = (entry.at_core or Line("core")) if entry.is_relayed else line
        error, metrics = at_core.error, self.observer.metrics
        if not at_core.is_sent:
            self._refund(allowed)
        if error is not None:
            metrics.core_errors.labels(error.code).inc()
            context.detail = at_core.problem(error)
        elif at_core.core_us is not None:
            metrics.core_responses.labels(f"{at_core.status // 100}xx").inc()
        if at_core.attempts > 1:
            metrics.core_retries.labels("sent").inc(at_core.attempts - 1)
        elif "UO" in at_core.flags and at_core.flags != "UO":
            metrics.core_retries.labels("over_budget").inc()
        self._count_instance(allowed.core, at_core, error)
        self._log(context, allowed.core, line, at_core, is_relayed=entry.is_relayed)

    def _count_instance(self, core: str, line: Line, error: GatehouseError | None) -> None:
        if not line.instance:
            return
        if error is None and line.core_us is not None:
            self.traffic.responded(core, line.instance, line.core_us / 1_000_000)
        elif error is not None:
            self.traffic.failed(core, line.instance, problem_of(line.problem(error)))

    def _log(
        self, context: Request, core: str, line: Line, at_core: Line, *, is_relayed: bool
    ) -> None:
        seconds = line.ms / 1000
        before_s = (at_core.before_us or 0) / 1_000_000
        context.status = line.status
        context.core_seconds = max(0.0, seconds - before_s)
        if is_relayed and line.status == 101:
            context.stream_use = StreamUse(line.received, line.sent)
            self.observer.metrics.stream_closed(context.stream_use)
        if context.trace.sampled and at_core.before_us is not None:
            self._add_span(context, core, at_core)
        context.record(seconds)

    def _add_span(self, context: Request, core: str, line: Line) -> None:
        attributes: dict[str, str | int] = {
            "http.request.method": context.method,
            "gatehouse.core": core,
            "gatehouse.instance": line.instance,
        }
        instance = self.find_instance(core, line.instance)
        if instance is not None:
            url = parse_base_url(instance.url)
            attributes |= {
                "url.full": instance.url,
                "server.address": url.host,
                "server.port": url.port,
            }
        if line.status and line.error is None:
            attributes["http.response.status_code"] = line.status
        trace = context.trace
        ids = trace.trace_id, trace.client_span_id, trace.span_id
        seconds = (line.core_us or 0) / 1_000_000 or line.ms / 1000
        failed = not 0 < line.status < 400
        self.observer.tracer.add(context.method, "CLIENT", ids, seconds, attributes, failed=failed)

    def _end_unknown(self, line: Line) -> None:
        """The end of a request that another worker has allowed."""
        self.observer.log.info(
            "request ended",
            request_id=line.request_id,
            key_id=line.key_id,
            status=line.status,
            ms=line.ms,
            detail=line.details,
        )
        if not line.is_sent:
            self._start(self._refund_key(KeyId(line.key_id)))

    async def _refund_key(self, key_id: KeyId) -> None:
        key = await self.verification.keys.load(key_id)
        if key is not None:
            await self.verification.refund(key, VerificationRequest(), time.perf_counter())

    def _refund(self, allowed: Allowed) -> None:
        if allowed.key.uses_credits:
            self._start(self.verification.refund(allowed.key, allowed.request, allowed.began))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for entry in self._by_id:
            if entry.line is not None:
                self._end(entry, entry.line)
        await asyncio.gather(*self._tasks, return_exceptions=True)
