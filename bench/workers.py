"""Simulates the rate limits of many workers, with the code that a gateway runs: `python -m bench
workers`.

Every worker receives requests of one key as fast as it can handle them (flood), or a load balancer
distributes a fixed rate among all workers (balanced). The load of Valkey follows from the CPU time
of a real server per counter, and the keys that a worker uses between two reports.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from gatehouse.core.keys import RateLimit
from gatehouse.core.ledger import Counter, Family
from gatehouse.core.verification import Charge
from gatehouse.features.verification.rate_limiters import BATCH_MAX, EXCHANGE_S, RateLimits
from gatehouse.platform.redis.connection import Redis

from sandbox.local import servers

WORKERS = (1, 4, 12, 50, 100, 200)
LIMIT = RateLimit(name="requests", quota=1000, window_s=86_400, burst=1000)
CHARGE = Charge(subject="family", limits=(LIMIT,), cost=1)
REQUESTS_S = 2000  # of a worker with one vCPU (docs/capacity.md)
BALANCED_S = 5000  # of all workers
KEYS = 5000  # drawn by Zipf's law
ROUND_TRIP_US = 1000.0
STEP_US = 500.0
END_US = 3_000_000.0
#: Share of its core that Valkey can use for scripts.
VALKEY_SHARE = 0.6


@dataclass(slots=True)
class Worker:
    """A worker whose reports reach Redis half a round trip later, and the replies another half."""

    exchange_at: float
    family: Family = field(default_factory=lambda: Family(CHARGE.subject))
    report: list[tuple[Counter, float]] | None = None
    arrives_at: float = 0.0

    def take(self, redis: Family, now: float) -> bool:
        """Decides on a request. Beyond the share, Redis decides, after a report."""
        states = self.family.take(CHARGE, now, degraded=False)
        if states is None:
            self.report = [*(self.report or ()), *self.family.send(now)]
            self.arrive(redis, now)
            states = redis.take(CHARGE, now, degraded=True)
            self.family.current[0].learn(max(redis.current[0].arrival - now, 0.0), now)
        return states is not None and not states[0].exceeded

    def arrive(self, redis: Family, now: float) -> None:
        for counter, move in self.report or ():
            redis.current[0].count(move, now)
            counter.confirm(move, max(redis.current[0].arrival - now, 0.0), now)
        self.report = None

    def step(self, redis: Family, now: float) -> None:
        if self.report is not None and now >= self.arrives_at:
            self.arrive(redis, now)
        if self.report is None and (self.family.is_urgent or now >= self.exchange_at):
            self.report, self.arrives_at = self.family.send(now), now + ROUND_TRIP_US
            self.exchange_at = now + EXCHANGE_S * 1e6


def simulate(count: int, requests_s: float) -> tuple[int, float]:
    """Requests above the limit, and the time in milliseconds from the last request within the limit
    to the last allowed request. requests_s: requests of all workers.
    """
    chance, redis = random.Random(1), Family(CHARGE.subject)
    redis.take(Charge(CHARGE.subject, CHARGE.limits, 0), 0.0, degraded=True)
    workers = [Worker(chance.uniform(0, EXCHANGE_S * 1e6)) for _ in range(count)]
    turn, allowed, due, full_at, last_at = itertools.cycle(workers), 0, 0.0, 0.0, 0.0
    for tick in range(int(END_US / STEP_US)):
        now = tick * STEP_US
        due += requests_s * STEP_US / 1e6
        for worker in itertools.islice(turn, int(due)):
            if worker.take(redis, now):
                allowed, last_at = allowed + 1, now
                full_at = now if allowed <= LIMIT.burst else full_at
        due %= 1
        for worker in workers:
            worker.step(redis, now)
    return allowed - LIMIT.burst, (last_at - full_at) / 1000


def families_per_report() -> float:
    weights = [1 / rank for rank in range(1, KEYS + 1)]
    requests, total = REQUESTS_S * EXCHANGE_S, sum(weights)
    return float(sum(1 - (1 - weight / total) ** requests for weight in weights))


async def valkey_us_per_counter() -> float:
    with servers.redis() as url:
        redis = Redis(servers.administrator(url), "url", timeout_s=20)
        limits = RateLimits(redis)
        await limits.start()
        count, used = 200 * BATCH_MAX, []
        for start in (0, count):
            for number in range(start, start + count):
                limits.take_now(Charge(f"{number:012d}", (LIMIT,), 1))
            await limits.close()
            cpu = await redis.client.info("cpu")
            used.append(cpu["used_cpu_user"] + cpu["used_cpu_sys"])
        await redis.close()
    return float(used[1] - used[0]) / count * 1e6


def rows() -> Iterator[str]:
    families, us = families_per_report(), asyncio.run(valkey_us_per_counter())
    calls_s, counters_s = -(-families // BATCH_MAX) / EXCHANGE_S, families / EXCHANGE_S
    yield f"limit: {LIMIT.burst} at once; {REQUESTS_S} requests/s of a worker, {KEYS} keys (Zipf)"
    yield f"Valkey: {us:.1f} us of CPU time per counter"
    yield f"one shard is enough for {VALKEY_SHARE * 1e6 / us / counters_s:.0f} workers"
    columns = ("above the limit", "until all deny")
    head = (
        "workers",
        *(f"{load}: {column}" for load in ("flood", "balanced") for column in columns),
    )
    yield f"|{'|'.join((*head, 'calls/s', 'counters/s', 'Valkey'))}|"
    yield "|---" * 8 + "|"
    for count in WORKERS:
        cells = [f"{count}"]
        for requests_s in (count * REQUESTS_S, BALANCED_S):
            excess, late_ms = simulate(count, requests_s)
            cells += [f"{excess / LIMIT.burst:.0%}", f"{late_ms:.0f} ms"]
        cells += [f"{count * calls_s:,.0f}", f"{count * counters_s:,.0f}"]
        yield f"|{'|'.join((*cells, f'{count * counters_s * us / 1e6:.0%}'))}|"


def main() -> None:
    for row in rows():
        print(row, flush=True)
