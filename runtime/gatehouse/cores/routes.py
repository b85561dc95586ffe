"""Endpoints of Cores at the console."""

from __future__ import annotations

from gatehouse.console.dependencies import Request
from gatehouse.cores.models import CoreName
from gatehouse.cores.schemas import CorePage, ListCores, core_view
from gatehouse.http.endpoint import Endpoint
from gatehouse.http.fields import Cursors
from gatehouse.identity.models import AUDITORS


async def list_cores(request: Request, query: ListCores) -> CorePage:
    """List Cores.

    Returns the registered Cores, ordered by name.
    """
    dependencies = request.dependencies
    cursors = Cursors(dependencies.cursor_pepper, "cores")
    after = None if query.cursor is None else CoreName(cursors.read(query.cursor))
    cores, next_after = await dependencies.cores.page(after=after, size=query.limit)
    now = dependencies.clock.now()
    return CorePage([core_view(core, now) for core in cores], None if next_after is None else cursors.write(next_after))


ENDPOINTS = (Endpoint(method="GET", path="/v1/cores", handler=list_cores, tag="cores", roles=AUDITORS),)
