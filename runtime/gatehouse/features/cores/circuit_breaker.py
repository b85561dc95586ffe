"""Circuit breaker of an instance of a Core, and retry budget of a Core. Both are per worker. Pure.

A circuit breaker is closed while the instance responds. Consecutive failures open it, and requests
are then denied immediately instead of waiting for an instance that is down. After the reset time,
the circuit breaker is half open: one trial request is sent. A response closes the circuit breaker;
a failed connection opens it again. If a trial has no outcome within the reset time, another trial
is sent. When a connection is established, requests are no longer denied, because a client can
request something slow.

Failures are failed connections, and requests to which the instance responds with 502, 503 or 504
or closes the connection. Clients can cause the latter, so they open a circuit breaker only if they
happen to more than one client, and without a failed connection, requests are not denied: they are
sent to other instances. A response timeout is no failure: clients can request slow things.
Sources: M. Nygard, Release It!, chapter "Stability Patterns"; RFC 9110, section 9.2.2 and "The Tail
at Scale" for the retry budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    _open_until: float | None = None
    #: Clients of the counted failures. An empty string stands for a failed connection.
    _clients: set[str] = field(default_factory=set)

    def state(self, now: float) -> CircuitState:
        if self._open_until is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self._open_until else CircuitState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """Seconds until the next request is allowed, or 0 if a request is allowed now."""
        if self._open_until is None or "" not in self._clients:
            return 0.0
        return max(0.0, self._open_until - now)

    def begin(self, now: float, *, is_whole: bool = True) -> bool:
        """Records a request that is sent now. Requires that `wait_s` is 0. Returns True if the
        request is a trial.

        is_whole: the client has sent the whole request. Otherwise, it can delay the response, so
        that other requests do not wait for the outcome of the trial.
        """
        if self._open_until is None:
            return False
        if is_whole:
            self._open_until = now + self.reset_s
        return True

    def connected(self) -> None:
        """Records that a new connection was established."""
        if self._open_until is not None:
            self._clients.discard("")

    def succeeded(self) -> bool:
        """Records a response. Returns True if the response closed the circuit breaker."""
        closed = self._open_until is not None
        self._failures, self._open_until = 0, None
        self._clients.clear()
        return closed

    def failed(self, now: float, *, trial: bool, client: str = "") -> CircuitState | None:
        """Records a failure. Returns the new state if it changed. While the circuit breaker is
        open, only a failed trial counts.

        client: the client whose request failed after the connection was established. If this
        request was the trial, the failure of another client opens the circuit breaker again.
        """
        if self._open_until is not None:
            if not trial:
                return None
            if not client:
                self._open_until = now + self.reset_s
                self._clients.add(client)
                return None
            self._open_until, self._failures = None, self.failures_max - 1
            self._clients = {client}
            return CircuitState.CLOSED
        if not self.failures_max:
            return None
        self._failures += 1
        self._clients.add(client)
        is_confirmed = "" in self._clients or len(self._clients) > 1
        if self._failures < self.failures_max or not is_confirmed:
            return None
        self._open_until = now + self.reset_s
        return CircuitState.OPEN

    def abandoned(self, now: float, *, trial: bool) -> None:
        """Records a request that ended without an outcome because the client disconnected. If that
        request was the trial, the next request becomes the new trial."""
        if trial and self._open_until is not None:
            self._open_until = now


class RetryBudget:
    """Limits retries to a share of all requests to a Core, so that retries cannot double the load
    on the Core.
    """

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
