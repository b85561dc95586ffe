"""Health of a service: checks the readiness of its dependencies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta

from gatehouse.core.errors import Unavailable

#: A slower probe counts as failed. Health checks by load balancers time out after about five
#: seconds.
PROBE_TIMEOUT_S = 3.0


class Probe(Protocol):
    """Readiness check of a dependency, for /readyz."""

    name: str

    async def check(self) -> None:
        """Return if the dependency responds, otherwise raise Unavailable."""
        ...


Probes = Sequence[Probe]


class Health(msgspec.Struct, frozen=True):
    """The process is running."""

    example: ClassVar = {"status": "ok"}

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
        dict[str, Literal["ok", "degraded", "unavailable"]],
        Meta(description="State of each dependency, by name."),
    ]
    features_off: Annotated[
        tuple[str, ...], Meta(description="Features that are disabled in this deployment.")
    ] = ()


async def readiness(
    required: Probes, optional: Probes = (), features_off: Iterable[str] = ()
) -> tuple[Readiness, str]:
    """Run all probes concurrently. The second value describes the failures, for the log."""
    failures = await asyncio.gather(*(_failure(probe) for probe in (*required, *optional)))
    missing, degraded = any(failures[: len(required)]), any(failures[len(required) :])
    checks: dict[str, Literal["ok", "degraded", "unavailable"]] = {}
    for index, (probe, failure) in enumerate(zip((*required, *optional), failures, strict=True)):
        checks[probe.name] = (
            "ok" if not failure else "unavailable" if index < len(required) else "degraded"
        )
    status: Literal["ready", "degraded", "unavailable"] = (
        "unavailable" if missing else "degraded" if degraded else "ready"
    )
    return Readiness(status, checks, tuple(sorted(features_off))), "; ".join(
        failure for failure in failures if failure
    )


async def _failure(probe: Probe) -> str:
    """Reason why a probe failed, or an empty string if the probe succeeded."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe.check()
    except Unavailable as exc:
        return f"{probe.name}: {exc.detail or exc.public}"
    except TimeoutError:
        return f"{probe.name}: no response within {PROBE_TIMEOUT_S} s"
    return ""
