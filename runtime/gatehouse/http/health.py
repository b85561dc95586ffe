"""Liveness, readiness and metrics of the Starlette doors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.errors import Unavailable
from gatehouse.http.middleware import Address
from gatehouse.http.models import Probe, Probes
from gatehouse.observability import METRICS_TYPE, Observer

Answer = Callable[[Request], Awaitable[Response]]


#: A probe that takes longer counts as failed; load balancers give up after about five seconds.
PROBE_TIMEOUT_S = 3.0


def routes(probes: Probes, observer: Observer, helpers: Probes = (), *, scraped: bool = True) -> list[Address]:
    """/healthz touches nothing, /readyz asks every probe at once, /metrics is for the scraper inside the network.

    helpers: a door that lacks one serves on, `degraded`; without one of `probes` it is `unavailable`.
    scraped: there is such a scraper. A function has none, and its address is public.
    """
    found = [Address("/healthz", _healthz, methods=["GET"]), Address("/readyz", _readyz(probes, helpers), methods=["GET"])]
    return [*found, Address("/metrics", _metrics(observer), methods=["GET"])] if scraped else found


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _readyz(probes: Probes, helpers: Probes) -> Answer:
    async def readyz(request: Request) -> Response:
        results = await asyncio.gather(*(_check(probe) for probe in (*probes, *helpers)))
        needed, helping = results[: len(probes)], results[len(probes) :]
        checks = {probe.name: "ok" if ok else "unavailable" for probe, ok in zip(probes, needed, strict=True)}
        checks |= {probe.name: "ok" if ok else "degraded" for probe, ok in zip(helpers, helping, strict=True)}
        status = "unavailable" if not all(needed) else "ready" if all(helping) else "degraded"
        return JSONResponse({"status": status, "checks": checks}, 200 if all(needed) else 503)

    return readyz


async def _check(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await probe.check()
    except (Unavailable, TimeoutError):
        return False
    return True


def _metrics(observer: Observer) -> Answer:
    async def metrics(request: Request) -> Response:
        return Response(observer.metrics.exposition(), headers={"Content-Type": METRICS_TYPE.decode("ascii")})

    return metrics
