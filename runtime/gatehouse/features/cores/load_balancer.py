"""Selects an instance of a Core for each request and sends the request through the circuit breaker
of the instance, per worker.

A request is sent to the instance with the fewest requests in progress in this worker. Ties are
broken at random, so that several workers do not select the same instance. Instances to which
connections failed are not selected. Other instances with an open circuit breaker, and instances
that fail their health checks, are selected only if no other instance is available or the others
have too many requests in progress, because clients can cause such failures, or a reason that
affects all instances.

A new registration or a new URL starts with a closed circuit breaker. The retry budget belongs to
the Core, so that the number of retries does not increase with the number of instances. If the only
instance is registered again, the Core has a new budget.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from gatehouse.core.cores import CoreName, CoreRecord
from gatehouse.core.errors import CoreCircuitOpen, CoreOverloaded, CoreTimeout, CoreUnreachable
from gatehouse.features.cores.circuit_breaker import CircuitBreaker, CircuitState, RetryBudget
from gatehouse.features.cores.reports import InstanceReport, RecentRequests, most_relevant
from gatehouse.platform.executions import Places
from gatehouse.platform.http_client.upstream import (
    Sending,
    UpstreamClients,
    UpstreamRequest,
    UpstreamResponse,
)

#: RFC 9110, section 9.2.1. DELETE is idempotent but not listed: a repeated DELETE may return 404
#: for the deleted resource.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Statuses with which an instance, or a proxy in front of it, reports that it is not available.
_FAILURES = frozenset({502, 503, 504})


@dataclass(slots=True, eq=False)
class _Instance:
    """State of an instance. `requests`: requests in progress, by sender."""

    lease_id: str
    url: str
    circuit_breaker: CircuitBreaker
    requests: Places
    recent: RecentRequests = field(default_factory=RecentRequests)


@dataclass(slots=True, eq=False)
class _Core:
    budget: RetryBudget
    instances: dict[str, _Instance] = field(default_factory=dict)

    def remove_others(self, leases: set[str]) -> None:
        """Removes the state of instances that have no lease in `leases` and no requests in
        progress.
        """
        self.instances = {
            key: state
            for key, state in self.instances.items()
            if state.lease_id in leases or state.requests.used
        }


@dataclass(slots=True, eq=False)
class LoadBalancer:
    """Not thread-safe; use in a single event loop.

    requests_max: maximum number of requests in progress per instance. monotonic: clock in seconds.
    retry_share: 0 to 1. failures_max, reset_s: see CircuitBreaker.
    on_transition: called when the circuit breaker of an instance opens or closes. on_retry: called
    with False if the budget is used up.
    """

    upstream: UpstreamClients
    requests_max: int
    monotonic: Callable[[], float]
    failures_max: int
    reset_s: float
    retry_share: float
    on_transition: Callable[[CoreRecord, CircuitState], None]
    on_retry: Callable[[bool], None]
    _cores: dict[CoreName, _Core] = field(default_factory=dict)

    def select(
        self,
        instances: Sequence[CoreRecord],
        request: UpstreamRequest,
        *,
        failed: CoreRecord | None = None,
    ) -> CoreRecord:
        """The instance for a request.

        instances: the live instances of a Core, at least one. failed: the instance that failed to
        respond to the request, which is selected only if no other instance is available.

        Raises CoreCircuitOpen if connections to all instances have failed.
        """
        now, wait_s = self.monotonic(), math.inf
        candidates: list[CoreRecord] = []
        lowest: tuple[bool, bool, bool, int, int] | None = None
        for core in instances:
            state = self._state_of(core, instances)
            circuit_breaker = state.circuit_breaker
            if circuit_breaker.wait_s(now) > 0:
                wait_s = min(wait_s, circuit_breaker.wait_s(now))
                continue
            avoidance, circuit_state = 0, circuit_breaker.state(now)
            if circuit_state is CircuitState.OPEN:
                avoidance = 2  # clients may have caused the failures
            elif circuit_state is CircuitState.HALF_OPEN:
                # A request that can be retried on another instance is the trial. Other requests
                # avoid the instance.
                is_safe = request.body is None and request.method in _SAFE_METHODS
                avoidance = -1 if is_safe else 1
            is_full, number = not state.requests.has_place(request.sender), state.requests.used
            has_failed = failed is not None and core.lease_id == failed.lease_id
            rank = (is_full, has_failed, not core.healthy, avoidance, number)
            if lowest is None or rank < lowest:
                candidates, lowest = [core], rank
            elif rank == lowest:
                candidates.append(core)
        if not candidates:
            raise CoreCircuitOpen(retry_after_s=math.ceil(wait_s))
        return candidates[0] if len(candidates) == 1 else random.choice(candidates)  # noqa: S311 - distributes load

    def send(
        self, core: CoreRecord, request: UpstreamRequest, displace: Callable[[], bool] = bool
    ) -> "Attempt":
        """Like `UpstreamClients.send`. When the context is entered, raises CoreOverloaded if the
        instance has too many requests in progress, and CoreCircuitOpen, without sending the
        request. displace: see `Places`.
        """
        return Attempt(self, core, request, displace)

    def begin(self, core: CoreRecord, attempt: "Attempt", sender: str, now: float) -> _Instance:
        """Counts a request to an instance. Returns its state. Raises CoreOverloaded and
        CoreCircuitOpen.
        """
        state = self._state_of(core)
        wait_s = state.circuit_breaker.wait_s(now)
        if wait_s > 0:
            raise CoreCircuitOpen(retry_after_s=math.ceil(wait_s))
        if not state.requests.take(sender, attempt):
            raise CoreOverloaded
        self._cores[core.name].budget.earn()
        state.circuit_breaker.begin(now)
        return state

    def connected(self, core: CoreRecord, state: _Instance) -> None:
        if state.circuit_breaker.connected():
            self.on_transition(core, CircuitState.CLOSED)

    def select_for_retry(
        self,
        instances: Sequence[CoreRecord],
        request: UpstreamRequest,
        core: CoreRecord,
        *,
        is_sent: bool,
    ) -> CoreRecord | None:
        """The instance for the retry of a request that failed on the instance `core`, or None if
        the request must not be retried. If an instance is returned, one retry is taken from the
        budget.

        Only requests without a body are retried, and only if the method is safe or the request was
        not sent.
        """
        if request.body is not None or (is_sent and request.method not in _SAFE_METHODS):
            return None
        try:
            selected = self.select(instances, request, failed=core)
        except CoreCircuitOpen:
            return None
        allowed = self._cores[core.name].budget.take()
        self.on_retry(allowed)
        return selected if allowed else None

    def count_open(self, find: Callable[[str], Sequence[CoreRecord]]) -> int:
        """Number of circuit breakers that are not closed. Removes the state of instances that
        `find` no longer returns.
        """
        now = self.monotonic()
        self._remove_ended(find)
        return sum(
            state.circuit_breaker.state(now) is not CircuitState.CLOSED
            for core in self._cores.values()
            for state in core.instances.values()
        )

    def end_interval(self, find: Callable[[str], Sequence[CoreRecord]]) -> list[InstanceReport]:
        """Begins a new interval of request counts. Returns the reports about the last minute."""
        now = self.monotonic()
        self._remove_ended(find)
        reports = []
        for name, core in self._cores.items():
            for instance_id, state in core.instances.items():
                sums, circuit_state = state.recent.end_interval(), state.circuit_breaker.state(now)
                counts = sums.requests, sums.failures, sums.total_us, sums.buckets
                reports.append(
                    InstanceReport(name, instance_id, state.lease_id, circuit_state, *counts)
                )
        return most_relevant(reports)

    def _remove_ended(self, find: Callable[[str], Sequence[CoreRecord]]) -> None:
        for name, core in [*self._cores.items()]:
            core.remove_others({record.lease_id for record in find(name)})
            if not core.instances:
                del self._cores[name]

    def _state_of(self, record: CoreRecord, live: Sequence[CoreRecord] | None = None) -> _Instance:
        """The state of an instance. A new state replaces the state of all instances that are not in
        `live`.
        """
        core = self._cores.get(record.name)
        state = None if core is None else core.instances.get(record.instance_id)
        if state is not None and state.lease_id == record.lease_id and state.url == record.url:
            return state
        if core is None:
            core = self._cores[record.name] = _Core(RetryBudget(self.retry_share))
        if live is not None:
            core.remove_others({other.lease_id for other in live})
        if core.instances.keys() <= {record.instance_id}:
            core.budget = RetryBudget(self.retry_share)
        circuit_breaker = CircuitBreaker(self.failures_max, self.reset_s)
        state = core.instances[record.instance_id] = _Instance(
            record.lease_id, record.url, circuit_breaker, Places(self.requests_max)
        )
        return state


@dataclass(slots=True, eq=False)
class Attempt:
    """A request to an instance, which ends when the context exits. Records the outcome.

    is_sent: set at the end; True if the instance may have received a part of the request.
    """

    _balancer: LoadBalancer
    _core: CoreRecord
    _request: UpstreamRequest
    displace: Callable[[], bool]
    is_sent: bool = False
    _response: UpstreamResponse | None = None
    _sending: Sending = field(init=False)
    _sent_at: float = field(init=False)
    _state: _Instance = field(init=False)

    async def __aenter__(self) -> UpstreamResponse:
        balancer = self._balancer
        self._sent_at = balancer.monotonic()
        core = self._core
        self._state = balancer.begin(core, self, self._request.sender, self._sent_at)
        on_connect = partial(balancer.connected, core, self._state)
        self._sending = balancer.upstream.send(
            core.url, self._request, core.registered_by, on_connect
        )
        try:
            self._response = response = await self._sending.__aenter__()
        except BaseException as exc:
            self._end(exc)
            raise
        now = balancer.monotonic()
        self._state.recent.current.responded(now - self._sent_at)
        self._state.circuit_breaker.responded(now, failed=response.status in _FAILURES)
        return response

    async def __aexit__(self, _: object, exc: BaseException | None, *__: object) -> None:
        try:
            await self._sending.__aexit__()
        finally:
            self._end(exc)

    def _end(self, exc: BaseException | None) -> None:
        state, now = self._state, self._balancer.monotonic()
        self.is_sent = self._sending.is_sent
        state.requests.leave(self._request.sender, self)
        if exc is None or self._response is not None:
            return
        circuit_breaker = state.circuit_breaker
        if isinstance(exc, CoreUnreachable) and not self.is_sent:
            state.recent.current.failed()
            if circuit_breaker.not_connected(now):
                self._balancer.on_transition(self._core, CircuitState.OPEN)
        # The client may have stalled a body that it sends during the request.
        elif isinstance(exc, CoreUnreachable | CoreTimeout) and isinstance(
            self._request.body, bytes | None
        ):
            state.recent.current.failed()
            if isinstance(exc, CoreUnreachable):
                circuit_breaker.responded(now, failed=True)
        else:
            circuit_breaker.abandoned(now)
