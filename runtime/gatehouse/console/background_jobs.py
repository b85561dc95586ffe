"""Periodic background jobs. Each job runs in its own task, so a slow job does not delay the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gatehouse.errors import GatehouseError
from gatehouse.observability import Observer


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Calls `turn` every `seconds`, for the first time after `seconds`. A failure is logged and does not stop the job."""

    name: str
    seconds: float
    turn: Callable[[], Awaitable[object]]

    async def run(self, observer: Observer) -> None:
        while True:
            await asyncio.sleep(self.seconds)
            try:
                await self.turn()
            except GatehouseError as exc:
                observer.metrics.background_job_failures.labels(self.name).inc()
                observer.log.warning(
                    "background job failed", service=observer.service, job=self.name, reason=exc.detail or exc.code
                )
