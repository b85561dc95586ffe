"""Watches the served directory for changes (option `--watch`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gatehouse.commands.agent.extras import load
from gatehouse.core.errors import SettingsError

#: Time in milliseconds within which several changes are reported together.
DEBOUNCE_MS = 200


@asynccontextmanager
async def watching(
    directory: Path, on_change: Callable[[], Awaitable[None]], *, on_end: Callable[[], None]
) -> AsyncIterator[None]:
    """Calls `on_change` after changes in the directory, until the context exits.

    on_end: called when the directory can no longer be watched. Raises SettingsError at the end of
        the context in this case.
    """
    watchfiles = load("watchfiles", "--watch")
    stop, started = asyncio.Event(), asyncio.Event()

    async def watch() -> None:
        try:
            changes = watchfiles.awatch(
                directory, watch_filter=None, stop_event=stop, debounce=DEBOUNCE_MS, step=DEBOUNCE_MS // 4, rust_timeout=500,  # noqa: E501
                yield_on_timeout=True,
            )  # fmt: skip
            async for batch in changes:
                # also after a timeout without changes, so the directory is watched from this time
                started.set()
                if batch:
                    await on_change()
        except (OSError, RuntimeError) as exc:
            fix = "Check the permissions and the limit fs.inotify.max_user_watches, or omit --watch"
            raise SettingsError(f"cannot watch {directory} ({exc}). {fix}") from exc
        finally:
            started.set()
            if not stop.is_set():
                on_end()

    task = asyncio.create_task(watch(), name="watch")
    try:
        await started.wait()
        yield
    finally:
        stop.set()
        await task
