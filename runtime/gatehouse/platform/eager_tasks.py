"""Runs a request without a task until it waits, because a task takes a sixth of the time of a
verification (docs/decisions/0018). From Python 3.12, `asyncio.eager_task_factory` is similar.
"""

import asyncio
from collections.abc import Coroutine
from types import coroutine
from typing import Any


def begin(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine until it waits, and the rest in a task. What needs a task,
    such as `asyncio.timeout`, therefore follows `await asyncio.sleep(0)`.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_rest(work, waits_for))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


#: The event loop has only weak references to tasks.
_tasks: set[asyncio.Task[None]] = set()


async def _rest(work: Coroutine[Any, Any, None], waits_for: object) -> None:
    await _resumed(work, waits_for)


@coroutine
def _resumed(work: Coroutine[Any, Any, None], waits_for: object) -> Any:
    """Yields what the coroutine waits for to the task, then continues it."""
    try:
        yield waits_for
    except BaseException as exc:  # the task was cancelled
        try:
            waits_for = work.throw(exc)
        except StopIteration:
            return
        yield waits_for
    yield from work
