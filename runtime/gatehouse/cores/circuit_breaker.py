"""Circuit breakers and retry budgets of Cores, per worker.

A circuit breaker is closed while the Core responds. Consecutive failures open it, and requests are then denied immediately
instead of waiting for a Core that is down. After the reset time, the circuit breaker is half open: one trial request is sent. A
response closes the circuit breaker; a failure opens it again. If a trial has no outcome within the reset time, another trial is
sent. Only failed connections and timeouts count as failures; a response with any status shows that the Core is up.
Sources: M. Nygard, Release It!, chapter "Stability Patterns"; RFC 9110, section 9.2.2 and "The Tail at Scale" for the retry
budget.

A new registration or a new URL starts with a closed circuit breaker.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from gatehouse.cores.models import CoreName, CoreRecord, UpstreamRequest
from gatehouse.cores.upstream import UpstreamClients, UpstreamResponse
from gatehouse.errors import CoreCircuitOpen, CoreTimeout, CoreUnreachable

#: Maximum and initial value of a retry budget. The initial value permits retries for a Core with little traffic.
RETRY_BUDGET_MAX = 10.0

#: RFC 9110, section 9.2.1. DELETE is idempotent but not listed: a repeated DELETE may return 404 for the deleted resource.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True, eq=False)
class CircuitBreaker:
    """Circuit breaker of one Core. Times are in seconds on a monotonic clock.

    failures_max: number of consecutive failures that open the circuit breaker; 0: it never opens. reset_s: seconds for which the
    circuit breaker stays open.
    """

    failures_max: int
    reset_s: float
    _failures: int = 0
    _open_until: float | None = None

    def state(self, now: float) -> CircuitState:
        if self._open_until is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self._open_until else CircuitState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """Seconds until the next request is allowed, or 0 if a request is allowed now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def begin(self, now: float) -> bool:
        """Records a request that is sent now. Requires that `wait_s` is 0. Returns True if the request is the trial."""
        if self._open_until is None:
            return False
        self._open_until = now + self.reset_s
        return True

    def succeeded(self) -> bool:
        """Records a response. Returns True if the response closed the circuit breaker."""
        closed = self._open_until is not None
        self._failures, self._open_until = 0, None
        return closed

    def failed(self, now: float, *, trial: bool) -> bool:
        """Records a failure. Returns True if the failure opened the circuit breaker. While the circuit breaker is open, only a
        failed trial counts."""
        if self._open_until is not None:
            if trial:
                self._open_until = now + self.reset_s
            return False
        self._failures += 1
        if not self.failures_max or self._failures < self.failures_max:
            return False
        self._open_until = now + self.reset_s
        return True

    def abandoned(self, now: float, *, trial: bool) -> None:
        """Records a request that ended without an outcome because the client disconnected. If that request was the trial, the
        next request becomes the new trial."""
        if trial and self._open_until is not None:
            self._open_until = now


class RetryBudget:
    """Limits retries to a share of all requests to a Core, so that retries cannot double the load on the Core."""

    __slots__ = ("_budget", "_share")

    def __init__(self, share: float) -> None:
        """share: 0 to 1; 0 allows no retries."""
        self._share = share
        self._budget = RETRY_BUDGET_MAX if share else 0.0

    def earn(self) -> None:
        """Adds the share of one request to the budget."""
        self._budget = min(RETRY_BUDGET_MAX, self._budget + self._share)

    def take(self) -> bool:
        """Takes a retry from the budget. Returns False if the budget is used up."""
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True


@dataclass(slots=True)
class _CoreState:
    lease_id: str
    url: str
    circuit_breaker: CircuitBreaker
    budget: RetryBudget

    def applies_to(self, core: CoreRecord) -> bool:
        return self.lease_id == core.lease_id and self.url == core.url


@dataclass(slots=True, eq=False)
class CircuitBreakers:
    """Sends requests to Cores through their circuit breakers. Not thread-safe; use in a single event loop.

    monotonic: clock in seconds. retry_share: 0 to 1. failures_max, reset_s: see CircuitBreaker.
    on_transition: called when a circuit breaker opens or closes. on_retry: called with False if the budget is used up.
    """

    upstream: UpstreamClients
    monotonic: Callable[[], float]
    failures_max: int
    reset_s: float
    retry_share: float
    on_transition: Callable[[CoreName, CircuitState], None]
    on_retry: Callable[[bool], None]
    _states: dict[CoreName, _CoreState] = field(default_factory=dict)

    @asynccontextmanager
    async def send(self, core: CoreRecord, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        """Like `UpstreamClients.send`, but raises CoreCircuitOpen without sending the request if the circuit breaker is open."""
        state, now = self._state_of(core), self.monotonic()
        circuit_breaker = state.circuit_breaker
        wait_s = circuit_breaker.wait_s(now)
        if wait_s > 0:
            raise CoreCircuitOpen(retry_after_s=math.ceil(wait_s))
        state.budget.earn()
        trial = circuit_breaker.begin(now)
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(self.upstream.send(core.url, request))
            except BaseException as exc:
                if not _is_failure_of_core(exc, request):
                    circuit_breaker.abandoned(self.monotonic(), trial=trial)
                elif circuit_breaker.failed(self.monotonic(), trial=trial):
                    self.on_transition(core.name, CircuitState.OPEN)
                raise
            if circuit_breaker.succeeded():
                self.on_transition(core.name, CircuitState.CLOSED)
            yield response

    def is_retryable(self, core: CoreRecord, request: UpstreamRequest, failure: CoreUnreachable) -> bool:
        """True if a failed request may be sent again. In this case, takes a retry from the budget.

        The request must have no body, must be safe or unsent, and the circuit breaker must not be open.
        """
        if request.body is not None or (failure.sent and request.method not in _SAFE_METHODS):
            return False
        state = self._state_of(core)
        if state.circuit_breaker.wait_s(self.monotonic()) > 0:
            return False
        allowed = state.budget.take()
        self.on_retry(allowed)
        return allowed

    def count_open(self, find: Callable[[str], CoreRecord | None]) -> int:
        """Number of circuit breakers that are not closed. Removes the state of Cores that `find` no longer returns."""
        self._states = {
            name: state for name, state in self._states.items() if (core := find(name)) is not None and state.applies_to(core)
        }
        now = self.monotonic()
        return sum(state.circuit_breaker.state(now) is not CircuitState.CLOSED for state in self._states.values())

    def _state_of(self, core: CoreRecord) -> _CoreState:
        state = self._states.get(core.name)
        if state is None or not state.applies_to(core):
            circuit_breaker, budget = CircuitBreaker(self.failures_max, self.reset_s), RetryBudget(self.retry_share)
            state = self._states[core.name] = _CoreState(core.lease_id, core.url, circuit_breaker, budget)
        return state


def _is_failure_of_core(exc: BaseException, request: UpstreamRequest) -> bool:
    """True for every failed connection. Other failures count only if no body is streamed, because the client may stall a streamed
    body."""
    if isinstance(exc, CoreUnreachable) and not exc.sent:
        return True
    return isinstance(exc, CoreUnreachable | CoreTimeout) and (request.body is None or isinstance(request.body, bytes))
