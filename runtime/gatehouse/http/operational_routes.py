"""/healthz, /readyz and /metrics of the Starlette services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.http import asgi
from gatehouse.http.health import readiness
from gatehouse.http.middleware import Address
from gatehouse.http.models import Probes
from gatehouse.observability import METRICS_TYPE, Observer

Handler = Callable[[Request], Awaitable[Response]]


def routes(required: Probes, observer: Observer, optional: Probes = (), *, scraped: bool = True) -> list[Address]:
    """optional: probes whose failure makes the service degraded rather than unavailable.

    scraped: serve /metrics for a scraper in the network. A Lambda function has none, and its address is public.
    """
    health = [Address("/healthz", _healthz, methods=["GET"]), Address("/readyz", _readyz(required, optional), methods=["GET"])]
    return [*health, Address("/metrics", _metrics(observer), methods=["GET"])] if scraped else health


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _readyz(required: Probes, optional: Probes) -> Handler:
    async def readyz(request: Request) -> Response:
        report, request.state.detail = await readiness(required, optional)
        status = 503 if report.status == "unavailable" else 200
        return Response(asgi.encode(report), status, media_type="application/json")

    return readyz


def _metrics(observer: Observer) -> Handler:
    async def metrics(request: Request) -> Response:
        return Response(observer.metrics.exposition(), headers={"Content-Type": METRICS_TYPE.decode("ascii")})

    return metrics
