"""GET /healthz (liveness), /readyz (readiness) and /metrics of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gatehouse.errors import Unavailable
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http.models import Probe, Probes
from gatehouse.observability import METRICS_TYPE, Metrics

#: Timeout of a probe; load balancers give up after about five seconds.
PROBE_TIMEOUT_S = 3.0


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    checks: dict[str, str]
    off: tuple[str, ...] = ()  # disabled features


async def healthz(context: RequestContext) -> None:
    await context.reply(200, b'{"status":"ok"}')


class Readyz:
    """200 if every probe succeeds, else 503. If only helpers fail, the gateway serves requests and is `degraded`."""

    def __init__(self, probes: Probes, helpers: Probes, off: frozenset[str]) -> None:
        self._off = tuple(sorted(off))
        self._probes = probes
        self._helpers = helpers

    async def __call__(self, context: RequestContext) -> None:
        errors = await asyncio.gather(*(_error(probe) for probe in self._probes))
        helper_errors = await asyncio.gather(*(_error(probe) for probe in self._helpers))
        checks = {probe.name: "unavailable" if error else "ok" for probe, error in zip(self._probes, errors, strict=True)}
        checks |= {probe.name: "degraded" if error else "ok" for probe, error in zip(self._helpers, helper_errors, strict=True)}
        context.detail = "; ".join(error for error in (*errors, *helper_errors) if error)
        ready = not any(errors)
        status = "unavailable" if not ready else "degraded" if any(helper_errors) else "ready"
        await context.reply(200 if ready else 503, asgi.encode(Readiness(status=status, checks=checks, off=self._off)))


async def _error(probe: Probe) -> str:
    """Error of a probe, for the log; empty if it succeeds."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe.check()
    except Unavailable as exc:
        return f"{probe.name}: {exc.detail or exc.public}"
    except TimeoutError:
        return f"{probe.name}: timeout after {PROBE_TIMEOUT_S} s"
    return ""


class MetricsPage:
    """Metrics for Prometheus. `refresh` sets the gauges. The load balancer does not route this path."""

    def __init__(self, metrics: Metrics, refresh: Callable[[], None]) -> None:
        self._metrics = metrics
        self._refresh = refresh

    async def __call__(self, context: RequestContext) -> None:
        self._refresh()
        await context.reply(200, self._metrics.exposition(), content_type=METRICS_TYPE)
