"""GET /healthz (the process answers), /readyz (it can decide), /metrics; the same three on every door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gatehouse.errors import Unavailable
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http.models import Probe, Probes
from gatehouse.observability import METRICS_TYPE, Metrics

#: A probe that takes longer counts as failed; load balancers give up after about five seconds.
PROBE_TIMEOUT_S = 3.0


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    checks: dict[str, str]
    off: tuple[str, ...] = ()  # features that are switched off here


async def healthz(exchange: RequestContext) -> None:
    await exchange.reply(200, b'{"status":"ok"}')


class Readyz:
    """200 when every probe answers, else 503. Helpers that are away are named, yet do not stop the gateway: it is `degraded`."""

    def __init__(self, probes: Probes, helpers: Probes, off: frozenset[str] = frozenset()) -> None:
        self._off = tuple(sorted(off))
        self._probes = probes
        self._helpers = helpers

    async def __call__(self, exchange: RequestContext) -> None:
        needed = await asyncio.gather(*(_ask(probe) for probe in self._probes))
        helping = await asyncio.gather(*(_ask(probe) for probe in self._helpers))
        checks = {probe.name: "ok" if not away else "unavailable" for probe, away in zip(self._probes, needed, strict=True)}
        checks |= {probe.name: "ok" if not away else "degraded" for probe, away in zip(self._helpers, helping, strict=True)}
        exchange.detail = "; ".join(away for away in (*needed, *helping) if away)
        ready = not any(needed)
        told = "unavailable" if not ready else "degraded" if any(helping) else "ready"
        status = Readiness(status=told, checks=checks, off=self._off)
        await exchange.reply(200 if ready else 503, asgi.encode(status))


async def _ask(probe: Probe) -> str:
    """Why a probe failed, for the log; empty when it did not."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe.check()
    except Unavailable as exc:
        return f"{probe.name}: {exc.detail or exc.public}"
    except TimeoutError:
        return f"{probe.name}: no answer in {PROBE_TIMEOUT_S} s"
    return ""


class MetricsPage:
    """`refresh` sets the gauges just before they are read. Never reachable from outside: the load balancer does not route it."""

    def __init__(self, metrics: Metrics, refresh: Callable[[], None]) -> None:
        self._metrics = metrics
        self._refresh = refresh

    async def __call__(self, exchange: RequestContext) -> None:
        self._refresh()
        await exchange.reply(200, self._metrics.exposition(), content_type=METRICS_TYPE)
