"""Reaching a Core: the circuit that leaves one alone which is down, and the budget of requests that are sent again.

Each worker learns for itself, from the requests that it sends. A new registration, or a new URL, begins with a closed circuit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from gatehouse.core.circuit import Circuit, Phase, RetryBudget
from gatehouse.errors import CoreCircuitOpen, CoreTimeout, CoreUnreachable
from gatehouse.store.ports import Upstream, UpstreamReply, UpstreamRequest
from gatehouse.types import CoreName, CoreRecord

#: RFC 9110, section 9.2.1. A DELETE that is sent twice does no harm, yet its client may be told 404 about what it deleted.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class _Known:
    __slots__ = ("budget", "circuit", "lease_id", "url")

    def __init__(self, core: CoreRecord, circuit: Circuit, budget: RetryBudget) -> None:
        self.lease_id = core.lease_id
        self.url = core.url
        self.circuit = circuit
        self.budget = budget

    def is_of(self, core: CoreRecord) -> bool:
        return self.lease_id == core.lease_id and self.url == core.url


class Reach:
    """The Upstream port, around another one. For one event loop, not for threads."""

    def __init__(
        self,
        upstream: Upstream,
        steady: Callable[[], float],
        *,
        failures_max: int,
        rest_s: float,
        retry_share: float,
        on_circuit: Callable[[CoreName, Phase], None],
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
        return sum(known.circuit.phase(now) is not Phase.CLOSED for known in self._known.values())

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
            self._on_circuit(core.name, Phase.CLOSED)

    def failed(self, core: CoreRecord, *, trial: bool) -> None:
        if self._of(core).circuit.failed(self._steady(), trial=trial):
            self._on_circuit(core.name, Phase.OPEN)

    def abandoned(self, core: CoreRecord, *, trial: bool) -> None:
        self._of(core).circuit.abandoned(self._steady(), trial=trial)

    def send(self, core: CoreRecord, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        return self._upstream.exchange(core, request)

    def _of(self, core: CoreRecord) -> _Known:
        known = self._known.get(core.name)
        if known is None or not known.is_of(core):
            fresh = Circuit(self._failures_max, self._rest_s), RetryBudget(self._retry_share)
            known = self._known[core.name] = _Known(core, *fresh)
        return known


class _Attempt:
    """One request under way, and what its outcome says of the Core."""

    __slots__ = ("_core", "_reach", "_request", "_under_way")

    def __init__(self, reach: Reach, core: CoreRecord, request: UpstreamRequest) -> None:
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
