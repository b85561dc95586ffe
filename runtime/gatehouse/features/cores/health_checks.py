"""Health checks of instances of Cores.

The workers of all gateways share the checks: a worker reserves an instance in the database before
it sends a check, so that the number of checks does not depend on the number of workers. The result
is shared too, because every worker reads `healthy` from the change feed. The failures are counted
in the database, so consecutive checks can be sent by different workers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gatehouse.core.cores import CoreRecord
from gatehouse.core.errors import GatehouseError
from gatehouse.core.token import Pepper
from gatehouse.features.cores.credentials import Credentials
from gatehouse.features.cores.repository import CoreRegistry, HealthCheckRepository
from gatehouse.features.cores.service import credential_headers
from gatehouse.platform.http_client.upstream import UpstreamClients, UpstreamRequest

#: Maximum time in seconds until the status of the response arrives.
TIMEOUT_S = 3.0
#: Maximum number of checks that a worker sends at the same time.
BATCH = 32
#: Maximum time in seconds that a worker waits for the end of its checks before it reserves others.
PAUSE_S = 0.1
#: Consecutive failures after which an instance is unhealthy, and consecutive successes after which
#: it is healthy again.
FAILURES, SUCCESSES = 3, 2


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """Sends health checks from one worker.

    interval_s: interval between two checks of an instance. on_change: called when `healthy` has
        changed.
    """

    cores: CoreRegistry
    repository: HealthCheckRepository
    upstream: UpstreamClients
    pepper: Pepper
    credentials: Credentials
    interval_s: float
    on_change: Callable[[CoreRecord], None]

    async def run_once(self) -> None:
        """Sends the checks that are due and that no other worker has reserved. Raises
        Unavailable.
        """
        running: dict[asyncio.Task[None], str] = {}
        try:
            while self.cores.has_health_checks():
                free = BATCH - len(running)
                reserved = await self.repository.reserve(
                    Counter(running.values()), interval_s=self.interval_s, size=free
                )
                for instance in reserved:
                    core = self.cores.find(*instance)
                    if core is not None and not core.draining:
                        running[asyncio.create_task(self._check(core))] = core.registered_by
                is_last = len(reserved) < free
                if running:
                    done, _ = await asyncio.wait(running, timeout=None if is_last else PAUSE_S)
                    for task in done:
                        del running[task]
                    await asyncio.gather(*done)
                if is_last:
                    return
        finally:
            for task in running:
                task.cancel()

    async def _check(self, core: CoreRecord) -> None:
        succeeded = await self._succeeds(core)
        failures, successes = await self.repository.count(core, succeeded=succeeded)
        if failures >= FAILURES or successes >= SUCCESSES:
            changed = await self.repository.set_healthy(core, succeeded)
            if changed is not None:
                self.cores.change(changed)
                self.on_change(changed)

    async def _succeeds(self, core: CoreRecord) -> bool:
        headers = [("user-agent", "gatehouse"), ("accept", "*/*"), ("connection", "close")]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                credential = await self.credentials.find(
                    core.name, core.settings, core.registered_by
                )
                headers += credential_headers(self.pepper, core, credential)
                request = UpstreamRequest("GET", core.settings.health_path or "/", headers, None)
                async with self.upstream.send(core.url, request, core.registered_by) as response:
                    return 200 <= response.status < 300
        except (GatehouseError, TimeoutError):
            return False
