"""GET /v1/cores: the registered Cores, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.console.dependencies import Door
from gatehouse.cores.models import CoreName
from gatehouse.cores.schemas import CorePage, ListCores, core_view
from gatehouse.http.pagination import Cursors


async def list_cores(query: Annotated[ListCores, Query()], door: Door) -> CorePage:
    """List the registered Cores by name."""
    cursors = Cursors(door.cursor_pepper, "cores")
    after = None if query.cursor is None else CoreName(cursors.read(query.cursor))
    cores, next_after = await door.cores.page(after=after, size=query.limit)
    now = door.clock.now()
    return CorePage(
        cores=[core_view(core, now) for core in cores],
        next_cursor=None if next_after is None else cursors.write(next_after),
    )
