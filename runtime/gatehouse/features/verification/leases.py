"""Leases of requests that a worker has counted in Redis in advance. Pure: the caller passes the
time and calls Redis.

A worker leases requests for a key family only while it verifies them in quick succession, and Redis
grants them. Each time, the worker asks for twice as many: at most 1000, and at most a tenth of the
smallest burst. Limits with a burst below 10 are therefore always counted one by one. A lease
expires after a second, and its unused requests are returned to Redis.

A leased request is counted before the client sends it, so a worker can allow the requests in a
lease up to a second late. In any window, each worker can therefore exceed the limit by at most a
tenth of the burst, and by at most 1000 requests. Requests that one worker has leased are
unavailable to other workers for at most a second.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gatehouse.core.verification import Charge

#: Duration of a lease in seconds.
LEASE_S = 1.0
#: Maximum number of requests in a lease. A lease also contains at most 1 / BURST_PART of the
#: smallest burst.
LEASE_MAX = 1000
BURST_PART = 10
#: Maximum number of key families with a lease. The family whose lease expires first is evicted
#: first, and its unused requests are not returned to Redis.
FAMILIES_MAX = 10_000


@dataclass(slots=True, eq=False)
class Lease:
    """size: size of the last lease that the worker asked for. ends_at, asked_until: seconds on the
    caller's clock.
    """

    charge: Charge
    ends_at: float
    size: int = 0
    unused: int = 0
    asked_until: float = 0.0


class Leases:
    """The leases of one worker, by key family."""

    def __init__(self) -> None:
        self._leases: OrderedDict[str, Lease] = OrderedDict()

    def use(self, charge: Charge, now: float) -> Lease | None:
        """Take one request from a lease. Returns None if no lease has a request for this charge."""
        lease = self._leases.get(charge.subject)
        if lease is None or not lease.unused or now >= lease.ends_at:
            return None
        if lease.charge is not charge and lease.charge != charge:
            return None
        lease.unused -= 1
        return lease

    def wanted(self, charge: Charge, now: float) -> int:
        """Number of requests to lease together with a request that is counted in Redis.

        0 for the first request in a second, and while the worker waits for Redis to grant a lease.
        """
        most = _size_max(charge)
        if not most:
            return 0
        lease = self._leases.get(charge.subject)
        if lease is None or now >= lease.ends_at or lease.charge != charge:
            if lease is None or not lease.unused:
                self._store(Lease(charge, now + LEASE_S))
            return 0
        return self._ask(lease, most, now)

    def wanted_ahead(self, lease: Lease, now: float) -> int:
        """Number of requests to lease before the lease is used up, or 0 while more than half of the
        lease is left.
        """
        return (
            0 if lease.unused * 2 > lease.size else self._ask(lease, _size_max(lease.charge), now)
        )

    def add(self, charge: Charge, count: int, now: float) -> None:
        """Add `count` requests to the lease. Redis can grant fewer than the worker asked for."""
        lease = self._leases.get(charge.subject)
        if lease is None or lease.charge != charge:
            lease = Lease(charge, now, size=count)
        lease.unused += count
        lease.ends_at = now + LEASE_S
        lease.asked_until = 0.0
        self._store(lease)

    def unused(self, charge: Charge) -> int:
        """Number of leased and unused requests for the charge's key family with the same limits."""
        lease = self._leases.get(charge.subject)
        own = charge.limits[: len(charge.limits) - charge.additional]
        return lease.unused if lease is not None and lease.charge.limits == own else 0

    def end(self, now: float) -> list[tuple[Charge, int]]:
        """Remove the expired leases. Returns the unused requests that the caller must return to
        Redis, as pairs of charge and count."""
        ended = []
        while self._leases:
            lease = next(iter(self._leases.values()))
            if now < lease.ends_at:
                break
            self._leases.popitem(last=False)
            if lease.unused:
                ended.append((lease.charge, lease.unused))
        return ended

    def clear(self) -> list[tuple[Charge, int]]:
        """Remove all leases. Returns the unused requests that the caller must return to Redis, as
        pairs of charge and count."""
        return self.end(float("inf"))

    def __len__(self) -> int:
        return len(self._leases)

    def _ask(self, lease: Lease, most: int, now: float) -> int:
        if now < lease.asked_until:
            return 0
        size = min(max(lease.size * 2, 1), most)
        if lease.unused >= size:
            return 0
        lease.asked_until = now + LEASE_S
        lease.size = size
        return size - lease.unused

    def _store(self, lease: Lease) -> None:
        self._leases[lease.charge.subject] = lease
        self._leases.move_to_end(lease.charge.subject)
        while len(self._leases) > FAMILIES_MAX:
            self._leases.popitem(last=False)


def _size_max(charge: Charge) -> int:
    """Maximum size of a lease, or 0 for a charge that is always counted separately."""
    if charge.cost != 1 or charge.additional:
        return 0
    bursts = [limit.burst // (BURST_PART * limit.cost) for limit in charge.limits if limit.cost]
    return min(*bursts, LEASE_MAX) if bursts else 0
