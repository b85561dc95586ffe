"""The operational endpoints of a service: health, readiness of its dependencies, and metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta

from gatehouse.core.errors import Unavailable
from gatehouse.core.features import Features
from gatehouse.platform.metrics import METRICS_TYPE
from gatehouse.platform.web import responses
from gatehouse.platform.web.endpoint import Endpoint, Response
from gatehouse.platform.web.request import Request

#: A slower probe counts as failed. Health checks by load balancers time out after about five
#: seconds.
PROBE_TIMEOUT_S = 3.0


DependencyState = Literal["ok", "degraded", "unavailable"]


class Probe(Protocol):
    """Readiness check of a dependency, for /readyz."""

    name: str

    async def check(self) -> None: ...


Probes = Sequence[Probe]


async def _no_metrics() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """What the operational endpoints of a service report.

    required: the service is not ready if one of these probes fails.
    optional: the service is `degraded` if one of these probes fails.
    features: of the service.
    refresh_gauges: called before metrics are read.
    more_metrics: returns the metrics of the proxy.
    """

    required: Probes = ()
    optional: Probes = ()
    features: Features = field(default_factory=Features)
    refresh_gauges: Callable[[], None] = lambda: None
    more_metrics: Callable[[], Awaitable[bytes]] = _no_metrics


class Health(msgspec.Struct, frozen=True):
    """The process is running."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of the service and of its dependencies."""

    example: ClassVar = {
        "status": "ready",
        "checks": {"database": "ok", "keys": "ok", "redis": "ok"},
    }

    status: Annotated[
        Literal["ready", "degraded", "unavailable"],
        Meta(
            description=(
                "`degraded`: an optional dependency is unavailable. `unavailable`: a "
                "required dependency is unavailable."
            )
        ),
    ]
    checks: Annotated[
        dict[str, DependencyState], Meta(description="State of each dependency, by name.")
    ]
    features_off: Annotated[
        tuple[str, ...], Meta(description="Features that are disabled in this deployment.")
    ] = ()


async def readiness(checks: ServiceHealth) -> tuple[Readiness, str]:
    """Run all probes concurrently. The second value describes the failures, for the log."""
    probes: list[tuple[Probe, Literal["degraded", "unavailable"]]] = [
        *((probe, "unavailable") for probe in checks.required),
        *((probe, "degraded") for probe in checks.optional),
    ]
    failures = await asyncio.gather(*(_failure(probe) for probe, _ in probes))
    states: dict[str, DependencyState] = {
        probe.name: state if failure else "ok"
        for (probe, state), failure in zip(probes, failures, strict=True)
    }
    status: Literal["ready", "degraded", "unavailable"] = "ready"
    if any(failures):
        status = "unavailable" if "unavailable" in states.values() else "degraded"
    detail = "; ".join(failure for failure in failures if failure)
    return Readiness(status, states, tuple(sorted(checks.features.off))), detail


async def _failure(probe: Probe) -> str:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe.check()
    except Unavailable as exc:
        return f"{probe.name}: {exc.detail or exc.public}"
    except TimeoutError:
        return f"{probe.name}: no response within {PROBE_TIMEOUT_S} s"
    return ""


async def healthz(request: Request) -> Health:
    """Check liveness.

    Returns 200 while the process is running. Dependencies are not checked.
    """
    return Health()


async def readyz(request: Request, checks: ServiceHealth) -> responses.Response:
    """Check readiness.

    `degraded`: an optional dependency such as Redis is unavailable. Returns 503 if a required
        dependency is unavailable.
    """
    report, request.detail = await readiness(checks)
    return request.response(
        503 if report.status == "unavailable" else 200, responses.encode(report)
    )


async def metrics(request: Request, checks: ServiceHealth) -> responses.Response:
    """Retrieve metrics.

    Returns metrics in the Prometheus text format, for a scraper inside the network. The load
    balancer does not route this path.
    """
    checks.refresh_gauges()
    body = await request.service.observer.exposition()
    body += await checks.more_metrics()
    return request.response(200, body, content_type=METRICS_TYPE.encode("ascii"))


_probe = partial(Endpoint, "GET", tag="health", security=())

ENDPOINTS = (
    _probe("/healthz", healthz, operation_id="health"),
    _probe(
        responses.READY_PATH,
        readyz,
        operation_id="readiness",
        response=Readiness,
        responses={503: Response("A required dependency is unavailable.", Readiness)},
    ),
)
METRICS = _probe(
    "/metrics",
    metrics,
    content={
        "text/plain": {
            "schema": {"type": "string"},
            "example": 'gatehouse_decisions_total{code="VALID"} 42.0\n',
        }
    },
)
