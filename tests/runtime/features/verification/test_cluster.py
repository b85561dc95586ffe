"""Rate limits in a cluster of three Redis processes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import RateLimit
from gatehouse.core.verification import Charge
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.redis.connection import Redis
from valkey import Valkey
from valkey.asyncio import ValkeyCluster

from sandbox.local import servers
from sandbox.ports import free_port

#: Slots of the shards, and a hash tag in each of them (Redis Cluster Specification, "Hash tags").
SHARDS = {"3": (0, 5460), "1": (5461, 10922), "0": (10923, 16383)}
WORKERS = 2
NINE = RateLimit(name="requests", quota=9, window_s=86_400, burst=9)
THOUSAND = RateLimit(name="requests", quota=1000, window_s=86_400, burst=1000)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[str]]:
    with ExitStack() as stack:
        ports = [str(free_port()) for _ in SHARDS]
        urls = [
            stack.enter_context(
                servers.redis(cluster_enabled="yes", cluster_port=port, requirepass="same-for-all")
            )
            for port in ports
        ]
        clients: list[Any] = [
            stack.enter_context(Valkey.from_url(servers.administrator(url))) for url in urls
        ]
        for client, slots in zip(clients, SHARDS.values(), strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        for url, port in zip(urls[1:], ports[1:], strict=True):
            parts = urlsplit(url)
            clients[0].execute_command("CLUSTER", "MEET", parts.hostname, parts.port, port)
        deadline = time.monotonic() + 60
        while not all(
            client.cluster("info")["cluster_state"] == "ok"
            and client.cluster("info")["cluster_known_nodes"] == str(len(SHARDS))
            for client in clients
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield urls


class ClusterClient(Redis):
    def __init__(self, url: str) -> None:
        self.client: Any = ValkeyCluster.from_url(url)
        self.timeout_s = 20


async def allowed(worker: RateLimits, charge: Charge, requests: int) -> int:
    count = 0
    for _ in range(requests):
        (state,) = await worker.take(charge)
        assert not state.degraded
        count += not state.exceeded
        await asyncio.sleep(0)  # other workers and replies of Redis
    return count


async def test_workers_share_limits_in_a_cluster(cluster: list[str]) -> None:
    for tag in SHARDS:
        clients = [ClusterClient(cluster[0]) for _ in range(WORKERS)]
        workers = [RateLimits(client, hash_tag=tag) for client in clients]
        for limit, overshoot in ((NINE, 0), (THOUSAND, WORKERS * 100)):
            charge = Charge(subject=f"family of {limit.burst}", limits=(limit,), cost=1)
            takes = [allowed(worker, charge, limit.burst) for worker in workers]
            count = sum(await asyncio.gather(*takes))
            assert limit.burst <= count <= limit.burst + overshoot
        for worker, client in zip(workers, clients, strict=True):
            await worker.close()
            await client.close()
    sizes = []
    for url in cluster:
        with Valkey.from_url(url) as client:
            sizes.append(client.dbsize())
    assert sizes == [2] * len(SHARDS)  # two counters


async def test_only_the_shard_with_the_limits_is_ready(cluster: list[str]) -> None:
    for url, tag in zip(cluster, SHARDS, strict=True):
        redis = Redis(url, "url", timeout_s=20)
        if tag == "0":
            await redis.check()
        else:
            with pytest.raises(Unavailable):
                await redis.check()
        await redis.close()
