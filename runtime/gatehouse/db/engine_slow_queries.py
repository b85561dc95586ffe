"""The console's statements that take long are told, by their text: every value is bound, so the text holds none."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.db.slow_queries import Tell, named

_BEGUN = "gatehouse_begun"


def watch_engine(engine: AsyncEngine, slow_s: float, tell: Tell) -> None:
    """Tells of an engine's statements, with the time that they waited for the server."""

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        connection.info[_BEGUN] = time.perf_counter()

    def after(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        seconds = time.perf_counter() - connection.info.pop(_BEGUN, time.perf_counter())
        if seconds >= slow_s:
            tell(named(statement), seconds)

    def failed(context: Any) -> None:
        begun = None if context.connection is None else context.connection.info.pop(_BEGUN, None)
        if begun is not None and time.perf_counter() - begun >= slow_s:
            tell(named(str(context.statement)), time.perf_counter() - begun)

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
    event.listen(engine.sync_engine, "handle_error", failed)
