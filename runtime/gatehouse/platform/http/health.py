"""Health of a service: checks the readiness of dependencies, and starts and stops the service in
the server's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, ClassVar, Literal, Protocol

import msgspec
from msgspec import Meta

from gatehouse.core.errors import GatehouseError, Unavailable
from gatehouse.platform.http import asgi
from gatehouse.platform.observability import Observer

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


class LifespanApp:
    """`start` connects, yields the application and disconnects. A failed start is logged in one
    line and ends the process.
    """

    def __init__(
        self, start: Callable[[], AbstractAsyncContextManager[asgi.App]], observer: Observer
    ) -> None:
        self._start = start
        self._observer = observer
        self._app: asgi.App | None = None
        #: Filled with the entries of the application when it has started.
        self.respond_now = asgi.SynchronousRoutes()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if self._app is not None and scope["type"] != "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        try:
            async with self._start() as self._app:
                self.respond_now.add(getattr(self._app, "respond_now", asgi.SynchronousRoutes()))
                await send({"type": "lifespan.startup.complete"})
                self._observer.log.info("started", service=self._observer.service)
                await receive()
        except GatehouseError as exc:
            if self._app is None:
                self._observer.log.error(
                    "not started", service=self._observer.service, reason=exc.public
                )
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            self._observer.log.error(
                "stopped with an error", service=self._observer.service, reason=exc.public
            )
        self._observer.log.info("stopped", service=self._observer.service)
        await send({"type": "lifespan.shutdown.complete"})
