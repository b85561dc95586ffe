"""Endpoints /healthz, /readyz and /metrics of the gateway."""

from __future__ import annotations

from collections.abc import Callable

from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.http.health import readiness
from gatehouse.http.models import Probes
from gatehouse.observability import METRICS_TYPE, Metrics


async def healthz(context: RequestContext) -> None:
    await context.reply(200, b'{"status":"ok"}')


class Readyz:
    """Responds 503 while a required dependency is unavailable. See `http/health.py`."""

    def __init__(self, required: Probes, optional: Probes, features_off: frozenset[str] = frozenset()) -> None:
        self._required = required
        self._optional = optional
        self._features_off = features_off

    async def __call__(self, context: RequestContext) -> None:
        report, context.detail = await readiness(self._required, self._optional, self._features_off)
        await context.reply(503 if report.status == "unavailable" else 200, asgi.encode(report))


class MetricsPage:
    """Metrics for a scraper inside the network. The load balancer does not route this path.

    refresh: sets the gauges before they are read.
    """

    def __init__(self, metrics: Metrics, refresh: Callable[[], None]) -> None:
        self._metrics = metrics
        self._refresh = refresh

    async def __call__(self, context: RequestContext) -> None:
        self._refresh()
        await context.reply(200, self._metrics.exposition(), content_type=METRICS_TYPE)
