"""Console endpoints for Cores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import NewType

from gatehouse.core.audit_events import AuditAction
from gatehouse.core.cores import CoreName, CoreRecord
from gatehouse.core.errors import NotFound
from gatehouse.core.roles import AUDITORS, OPERATORS
from gatehouse.features.cores.reports import InstanceReport, summarize
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.cores.schemas import (
    DRAIN_S_DEFAULT,
    INSTANCE_PATTERN,
    CorePage,
    CoreView,
    ListCores,
)
from gatehouse.platform.http.endpoint import Endpoint, StepUp
from gatehouse.platform.http.fields import view_of
from gatehouse.platform.http.forwarding import CORE_NAME
from gatehouse.platform.http.request import Request

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
    after = None
    if query.cursor is not None:
        name, _, instance_id = cursors.read(query.cursor).partition("/")
        after = CoreName(name), instance_id
    page, next_after = await cores.page(after=after, size=query.limit)
    workers = await cores.reports()
    next_cursor = None if next_after is None else cursors.write("/".join(next_after))
    return CorePage([_view(core, workers, request.now) for core in page], next_cursor, gateway_url)


def _view(core: CoreRecord, workers: Sequence[Sequence[InstanceReport]], now: float) -> CoreView:
    circuit_breakers, last_minute = summarize(core, workers)
    return view_of(
        CoreView,
        core,
        live=core.is_live(now),
        circuit_breakers=circuit_breakers,
        last_minute=last_minute,
    )


async def end_core(request: Request, name: str, cores: CoreRepository) -> None:
    """Drain a Core.

    Drains all instances of the Core, as `DELETE /v1/cores/{name}/instances/{instance}` does for one
    instance.
    """
    await _drain(request, name, None, cores)


async def end_core_instance(
    request: Request, name: str, instance: str, cores: CoreRepository
) -> None:
    """Drain an instance of a Core.

    The gateways stop sending requests to the instance within a second, and close its WebSockets
    after 30 seconds. A running agent completes the requests in progress and stops. To prevent a new
    registration, revoke the key of the agent.
    """
    await _drain(request, name, instance, cores)


async def _drain(
    request: Request, name: str, instance_id: str | None, cores: CoreRepository
) -> None:
    now = request.now
    event = request.actor.event(AuditAction.CORE_DRAIN, target_id=name, at=now, details={})
    is_valid = CORE_NAME.fullmatch(name) and (
        instance_id is None or re.fullmatch(INSTANCE_PATTERN, instance_id)
    )
    until = now + DRAIN_S_DEFAULT
    if not is_valid or not await cores.end(CoreName(name), instance_id, until=until, event=event):
        what = "Core" if instance_id is None else "instance of a Core"
        raise NotFound(f"No {what} is registered under this name.")


_core = partial(Endpoint, tag="cores")
_drain_core = partial(
    _core, method="DELETE", roles=OPERATORS, step_up=StepUp.ALWAYS, status=204, errors=(404,)
)

ENDPOINTS = (
    _core(method="GET", path="/v1/cores", handler=list_cores, roles=AUDITORS),
    _drain_core(path="/v1/cores/{name}", handler=end_core),
    _drain_core(path="/v1/cores/{name}/instances/{instance}", handler=end_core_instance),
)
