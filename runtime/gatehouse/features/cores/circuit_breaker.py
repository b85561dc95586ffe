"""Circuit breaker of an instance of a Core, and retry budget of a Core. Both are per worker. Pure.

A circuit breaker is closed while connections to the instance are established. Consecutive failures
open it, and requests are then denied immediately instead of waiting for an instance that is down.
After the reset time, the circuit breaker is half open: one trial request is sent. A connection
closes the circuit breaker; a failure opens it again. If a trial has no outcome within the reset
time, another trial is sent.

Consecutive requests to which the instance responds with 502, 503 or 504 or closes the connection
also open it, for the reset time. Clients can cause such failures, so other instances are preferred
meanwhile, but no request is denied. A response timeout is no failure: clients can request slow
things.
Sources: M. Nygard, Release It!, chapter "Stability Patterns"; RFC 9110, section 9.2.2 and "The Tail
at Scale" for the retry budget.
"""

from dataclasses import dataclass
from enum import StrEnum

#: Maximum and initial value of a retry budget. The initial value permits retries for a Core with
#: little traffic.
RETRY_BUDGET_MAX = 10.0


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True, eq=False)
class CircuitBreaker:
    """Circuit breaker of one instance. Times are in seconds on a monotonic clock.

    failures_max: number of consecutive failures that open the circuit breaker; 0: it never opens.
    reset_s: seconds for which the circuit breaker stays open.
    """

    failures_max: int
    reset_s: float
    _failures: int = 0
    _failed_responses: int = 0
    #: Until these times, requests are denied, and other instances are preferred.
    _denied_until: float | None = None
    _avoided_until: float = 0.0

    def state(self, now: float) -> CircuitState:
        if self.wait_s(now) > 0 or now < self._avoided_until:
            return CircuitState.OPEN
        return CircuitState.CLOSED if self._denied_until is None else CircuitState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """Seconds until the next request is allowed, or 0 if a request is allowed now."""
        return 0.0 if self._denied_until is None else max(0.0, self._denied_until - now)

    def begin(self, now: float) -> None:
        """Records a request that is sent now, which is a trial if the circuit breaker is half open.
        Requires that `wait_s` is 0.
        """
        if self._denied_until is not None:
            self._denied_until = now + self.reset_s

    def connected(self) -> bool:
        """Records that a request has a connection. Returns True if the circuit breaker closed."""
        closed = self._denied_until is not None
        self._failures, self._denied_until = 0, None
        return closed

    def not_connected(self, now: float) -> bool:
        """Records that no connection was established. Returns True if the circuit breaker
        opened.
        """
        self._failures += 1
        if not self.failures_max or self._failures < self.failures_max:
            return False
        opened = self._denied_until is None
        self._denied_until = now + self.reset_s
        return opened

    def responded(self, now: float, *, failed: bool) -> None:
        self._failed_responses = self._failed_responses + 1 if failed else 0
        if self._failed_responses == self.failures_max > 0:
            self._failed_responses, self._avoided_until = 0, now + self.reset_s

    def abandoned(self, now: float) -> None:
        """Records a request that ended without a connection because the client disconnected. The
        next request is a trial.
        """
        if self._denied_until is not None:
            self._denied_until = now


class RetryBudget:
    """Limits retries to a share of all requests to a Core, so that retries cannot double the load
    on the Core.
    """

    __slots__ = ("_budget", "_share")

    def __init__(self, share: float) -> None:
        self._share = share
        self._budget = RETRY_BUDGET_MAX if share else 0.0

    def earn(self) -> None:
        self._budget = min(RETRY_BUDGET_MAX, self._budget + self._share)

    def take(self) -> bool:
        """Takes a retry from the budget. Returns False if the budget is used up."""
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True
