"""What a console does by itself, again and again: each chore in a task of its own, so that a slow one holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gatehouse.errors import GatehouseError
from gatehouse.observability import Observer


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """`turn` is called every `seconds`, first after that time. A failure is logged and the next turn comes as usual."""

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
