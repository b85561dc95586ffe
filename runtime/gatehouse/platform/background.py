"""Runs background tasks: a task that runs until it is stopped, and jobs that run periodically."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from gatehouse.core.errors import GatehouseError
from gatehouse.platform.observability import Observer


class Background:
    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._task = asyncio.create_task(work, name=name)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Calls `action` every `seconds` seconds. The first call is made after `seconds` seconds. A
    failure is logged and does not stop the job.

    ends_entries: the action returns the number of entries that it has ended because nothing else
        did in time (pending.py), which is counted.
    """

    name: str
    seconds: float
    action: Callable[[], Awaitable[object]]
    ends_entries: bool = False

    def start(self, observer: Observer, stack: AsyncExitStack) -> None:
        background = Background()
        background.start(self.run(observer), self.name)
        stack.push_async_callback(background.stop)

    async def run(self, observer: Observer) -> None:
        while True:
            await asyncio.sleep(self.seconds)
            try:
                result = await self.action()
                if self.ends_entries and isinstance(result, int) and result:
                    observer.metrics.expired.labels(self.name).inc(result)
            except Exception as exc:
                # The message of any other exception may contain secret values, so only the class of
                # the exception is logged.
                reason = (
                    (exc.detail or exc.code)
                    if isinstance(exc, GatehouseError)
                    else type(exc).__name__
                )
                observer.metrics.background_job_failures.labels(self.name).inc()
                observer.log.warning("background job failed", job=self.name, reason=reason)
