"""When a Core is left alone, and how many requests to it may be sent again: two decisions that are handed clock and facts.

A circuit is closed while the Core answers. So many failures in a row open it, and requests are refused at once instead of waiting
for a Core that is down. After a rest it is half open: one request goes through as a trial. Its answer closes the circuit, its
failure opens it again; a trial that says nothing for the length of a rest is followed by another. Only connections that fail
and silence count as failures: an answer of the Core, whatever its status, is one of a Core that is there.
Source: M. Nygard, Release It!, chapter "Stability Patterns"; for the budget, RFC 9110, section 9.2.2 and "The Tail at Scale".

Reaching a Core: the circuit that leaves one alone which is down, and the budget of requests that are sent again.

Each worker learns for itself, from the requests that it sends. A new registration, or a new URL, begins with a closed circuit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from types import TracebackType

from gatehouse.cores.models import CoreName, CoreRecord, Upstream, UpstreamReply, UpstreamRequest
from gatehouse.errors import CoreCircuitOpen, CoreTimeout, CoreUnreachable

#: Retries that a quiet Core's budget holds: what few requests earn would otherwise never be enough for one.
RETRIES_KEPT_MAX = 10.0


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Of one Core, in one worker. Times are seconds of a clock that never goes back."""

    __slots__ = ("_failures", "_failures_max", "_open_until", "_rest_s")

    def __init__(self, failures_max: int, rest_s: float) -> None:
        """failures_max: in a row, until it opens; 0: it never does. rest_s: how long it stays open."""
        self._failures_max = failures_max
        self._rest_s = rest_s
        self._failures = 0
        self._open_until: float | None = None

    def phase(self, now: float) -> CircuitState:
        if self._open_until is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self._open_until else CircuitState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """Seconds until the next request may go; 0: now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def begin(self, now: float) -> bool:
        """A request goes to the Core (`wait_s` was 0). True: it is the trial, and others wait for its outcome."""
        if self._open_until is None:
            return False
        self._open_until = now + self._rest_s
        return True

    def answered(self) -> bool:
        """The head of an answer came. True: this closed the circuit."""
        closed = self._open_until is not None
        self._failures, self._open_until = 0, None
        return closed

    def failed(self, now: float, *, trial: bool) -> bool:
        """No connection, or no answer. True: this opened the circuit. Requests that began before it opened change nothing."""
        if self._open_until is not None:
            if trial:
                self._open_until = now + self._rest_s
            return False
        self._failures += 1
        if not self._failures_max or self._failures < self._failures_max:
            return False
        self._open_until = now + self._rest_s
        return True

    def abandoned(self, now: float, *, trial: bool) -> None:
        """The request ended without saying anything of the Core: its client left. After a trial, the next request is one."""
        if trial and self._open_until is not None:
            self._open_until = now


class RetryBudget:
    """How many requests to one Core are sent again: a share of all that are sent, so that retries cannot double its load."""

    __slots__ = ("_kept", "_share")

    def __init__(self, share: float) -> None:
        """share: of 1; 0 for no retries."""
        self._share = share
        self._kept = RETRIES_KEPT_MAX if share else 0.0

    def earn(self) -> None:
        """A request is sent."""
        self._kept = min(RETRIES_KEPT_MAX, self._kept + self._share)

    def take(self) -> bool:
        """False: the share is used up."""
        if self._kept < 1.0:
            return False
        self._kept -= 1.0
        return True


#: RFC 9110, section 9.2.1. A DELETE that is sent twice does no harm, yet its client may be told 404 about what it deleted.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class _Known:
    __slots__ = ("budget", "circuit", "lease_id", "url")

    def __init__(self, core: CoreRecord, circuit: CircuitBreaker, budget: RetryBudget) -> None:
        self.lease_id = core.lease_id
        self.url = core.url
        self.circuit = circuit
        self.budget = budget

    def is_of(self, core: CoreRecord) -> bool:
        return self.lease_id == core.lease_id and self.url == core.url


class CircuitBreakers:
    """The Upstream port, around another one. For one event loop, not for threads."""

    def __init__(
        self,
        upstream: Upstream,
        steady: Callable[[], float],
        *,
        failures_max: int,
        rest_s: float,
        retry_share: float,
        on_circuit: Callable[[CoreName, CircuitState], None],
        on_retry: Callable[[bool], None],
    ) -> None:
        """steady: seconds that never go back. retry_share: of 1. on_retry: told False when the budget did not allow one.

        on_circuit: told that a circuit opened or closed.
        """
        self._upstream = upstream
        self._steady = steady
        self._failures_max = failures_max
        self._rest_s = rest_s
        self._retry_share = retry_share
        self._on_circuit = on_circuit
        self._on_retry = on_retry
        self._known: dict[CoreName, _Known] = {}

    def exchange(self, core: CoreRecord, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        """As the port says; besides, raises CoreCircuitOpen without asking the Core."""
        return _Attempt(self, core, request)

    def may_repeat(self, core: CoreRecord, request: UpstreamRequest, failure: CoreUnreachable) -> bool:
        """Whether a request that failed so may be sent once more; True takes it from the budget.

        Only one without a body, that nothing of was sent or that changes nothing, to a Core that is not left alone.
        """
        if request.body is not None or (failure.sent and request.method not in _SAFE):
            return False
        known = self._of(core)
        if known.circuit.wait_s(self._steady()) > 0:
            return False
        allowed = known.budget.take()
        self._on_retry(allowed)
        return allowed

    def open_circuits(self, find: Callable[[str], CoreRecord | None]) -> int:
        """How many Cores are left alone or on trial. Forgets what `find` knows no more."""
        self._known = {
            name: known for name, known in self._known.items() if (core := find(name)) is not None and known.is_of(core)
        }
        now = self._steady()
        return sum(known.circuit.phase(now) is not CircuitState.CLOSED for known in self._known.values())

    def enter(self, core: CoreRecord) -> bool:
        """Raises CoreCircuitOpen; else whether the request is a trial."""
        known, now = self._of(core), self._steady()
        wait_s = known.circuit.wait_s(now)
        if wait_s > 0:
            raise CoreCircuitOpen(retry_after_s=math.ceil(wait_s))
        known.budget.earn()
        return known.circuit.begin(now)

    def answered(self, core: CoreRecord) -> None:
        if self._of(core).circuit.answered():
            self._on_circuit(core.name, CircuitState.CLOSED)

    def failed(self, core: CoreRecord, *, trial: bool) -> None:
        if self._of(core).circuit.failed(self._steady(), trial=trial):
            self._on_circuit(core.name, CircuitState.OPEN)

    def abandoned(self, core: CoreRecord, *, trial: bool) -> None:
        self._of(core).circuit.abandoned(self._steady(), trial=trial)

    def send(self, core: CoreRecord, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        return self._upstream.exchange(core, request)

    def _of(self, core: CoreRecord) -> _Known:
        known = self._known.get(core.name)
        if known is None or not known.is_of(core):
            fresh = CircuitBreaker(self._failures_max, self._rest_s), RetryBudget(self._retry_share)
            known = self._known[core.name] = _Known(core, *fresh)
        return known


class _Attempt:
    """One request under way, and what its outcome says of the Core."""

    __slots__ = ("_core", "_reach", "_request", "_under_way")

    def __init__(self, reach: CircuitBreakers, core: CoreRecord, request: UpstreamRequest) -> None:
        self._reach = reach
        self._core = core
        self._request = request
        self._under_way: AbstractAsyncContextManager[UpstreamReply] | None = None

    async def __aenter__(self) -> UpstreamReply:
        trial = self._reach.enter(self._core)
        self._under_way = self._reach.send(self._core, self._request)
        try:
            reply = await self._under_way.__aenter__()
        except (CoreUnreachable, CoreTimeout) as exc:
            if self._says_something(exc):
                self._reach.failed(self._core, trial=trial)
            else:
                self._reach.abandoned(self._core, trial=trial)
            raise
        except BaseException:
            self._reach.abandoned(self._core, trial=trial)
            raise
        self._reach.answered(self._core)
        return reply

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None if self._under_way is None else await self._under_way.__aexit__(kind, value, traceback)

    def _says_something(self, exc: CoreUnreachable | CoreTimeout) -> bool:
        """A body that streams in may stall, or break off, because of its client; a missing connection is always the Core's."""
        never_left = isinstance(exc, CoreUnreachable) and not exc.sent
        return never_left or self._request.body is None or isinstance(self._request.body, bytes)
