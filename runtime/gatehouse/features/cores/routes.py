"""Console endpoints for Cores."""

import asyncio
from functools import partial
from typing import NewType

from gatehouse.core.audit_events import AuditAction
from gatehouse.core.cores import CoreName, CoreRecord
from gatehouse.core.errors import NotFound
from gatehouse.core.http.forwarding import CORE_NAME
from gatehouse.core.roles import AUDITORS, OPERATORS
from gatehouse.features.cores.reports import Reports
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.cores.schemas import DRAIN_S_DEFAULT, CorePage, CoreView, EndCore, ListCores
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.fields import TOTAL_MAX, view_of
from gatehouse.platform.web.request import Request

#: Public URL of the gateway. Empty if it is not configured.
GatewayUrl = NewType("GatewayUrl", str)


async def list_cores(
    request: Request, query: ListCores, cores: CoreRepository, gateway_url: GatewayUrl
) -> CorePage:
    """List instances of Cores.

    Returns the registered instances, ordered by the name of the Core and the ID of the instance,
    with the state of their circuit breakers and their requests in the last minute.
    """
    cursors = request.cursors("cores")
    after = cursors.read(query.cursor, tuple[CoreName, str])
    page, next_after = await cores.page(after=after, size=query.limit)
    reports, now = await cores.reports(), request.now
    views = await asyncio.to_thread(lambda: [_view(core, reports, now) for core in page])
    total = await cores.count(TOTAL_MAX) if query.total else None
    return CorePage(views, cursors.write(next_after), gateway_url, total)


def _view(core: CoreRecord, reports: Reports, now: float) -> CoreView:
    healthy, circuit_breakers, last_minute = reports.summary(core)
    live, state = core.is_live(now), "live"
    if core.draining:
        state = "draining"
    elif not live:
        state = "expired"
    elif circuit_breakers.open or 0 < last_minute.requests == last_minute.failures:
        state = "failing"
    elif not healthy:
        state = "unhealthy"
    return view_of(
        CoreView,
        core,
        healthy=healthy,
        live=live,
        circuit_breakers=circuit_breakers,
        last_minute=last_minute,
        state=state,
    )


async def end_core(request: Request, name: str, query: EndCore, cores: CoreRepository) -> None:
    """Drain a Core, or one of its instances.

    The gateways stop sending requests to the instances within a second, and close their WebSockets
    after 30 seconds, or at once if the lease has ended. Running agents stop; those that serve a
    directory complete the requests in progress first. To prevent a new registration, revoke the key
    of the agent.
    """
    now = request.now
    event = request.actor.event(AuditAction.CORE_DRAIN, target_id=name, at=now, details={})
    until = now + DRAIN_S_DEFAULT
    if not CORE_NAME.fullmatch(name) or not await cores.end(
        CoreName(name), query.instance, until=until, event=event
    ):
        raise NotFound("No instance of a Core is registered under this name.")


_core = partial(Endpoint, tag="cores")

ENDPOINTS = (
    _core("GET", "/v1/cores", list_cores, roles=AUDITORS),
    _core(
        "DELETE",
        "/v1/cores/{name}",
        end_core,
        roles=OPERATORS,
        step_up=StepUp.ALWAYS,
        status=204,
        errors=(404,),
    ),
)
