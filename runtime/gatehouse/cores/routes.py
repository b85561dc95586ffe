"""Console endpoints for Cores."""

from __future__ import annotations

from functools import partial

from gatehouse.audit.models import AuditAction
from gatehouse.console.dependencies import Request
from gatehouse.cores.models import CoreName
from gatehouse.cores.schemas import CorePage, CoreView, ListCores
from gatehouse.errors import NotFound
from gatehouse.http.endpoint import Endpoint, StepUp
from gatehouse.http.fields import Cursors, view_of
from gatehouse.http.forwarding import CORE_NAME
from gatehouse.identity.models import AUDITORS, OPERATORS


async def list_cores(request: Request, query: ListCores) -> CorePage:
    """List Cores.

    Returns the registered Cores, ordered by name.
    """
    dependencies = request.dependencies
    cursors = Cursors(dependencies.cursor_pepper, "cores")
    after = None if query.cursor is None else CoreName(cursors.read(query.cursor))
    cores, next_after = await dependencies.cores.page(after=after, size=query.limit)
    now = dependencies.clock.now()
    views = [view_of(CoreView, core, live=not core.draining and core.expires_at > now) for core in cores]
    return CorePage(views, None if next_after is None else cursors.write(next_after))


async def end_core(request: Request, name: str) -> None:
    """End the registration of a Core.

    The gateways stop sending requests to the Core within a second. A running agent registers the Core again. To prevent a new
    registration, revoke the key of the agent.
    """
    at = request.dependencies.clock.now()
    event = request.actor.event(AuditAction.CORE_DRAIN, target_id=name, at=at, details={})
    if CORE_NAME.fullmatch(name) is None or not await request.dependencies.cores.end(CoreName(name), event):
        raise NotFound("No Core is registered under this name.")


_core = partial(Endpoint, tag="cores")
_CORE = "/v1/cores/{name}"

ENDPOINTS = (
    _core(method="GET", path="/v1/cores", handler=list_cores, roles=AUDITORS),
    _core(method="DELETE", path=_CORE, handler=end_core, roles=OPERATORS, step_up=StepUp.ALWAYS, status=204, errors=(404,)),
)
