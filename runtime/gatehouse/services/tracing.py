"""Starts the export of traces of a service.

OpenTelemetry is imported only if traces are exported, because the import takes 80 ms.
"""

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import PUBLISH_S, Settings, SharingSettings
from gatehouse.platform.tracing.tracer import Tracer


async def start_tracing(
    settings: SharingSettings, observer: Observer, stack: AsyncExitStack
) -> None:
    """Starts the export of traces if the settings enable tracing. The exit stack exports the last
    spans.
    """
    if isinstance(settings, Settings) and settings.traces_endpoint:
        from gatehouse.platform.tracing.export import SpanQueue, collector_exporter

        queue = SpanQueue(
            collector_exporter(settings.traces_endpoint),
            service=observer.service,
            environment=observer.environment,
            count=observer.metrics.spans,
        )
        stack.push_async_callback(queue.close)

        async def publish_lost() -> None:
            lost, observer.metrics.spans_lost = observer.metrics.spans_lost, 0
            if lost:
                observer.publish({"SpansLost": lost}, "Count")

        PeriodicJob("lost spans", PUBLISH_S, publish_lost).start(observer, stack)
        url = getattr(settings, f"{observer.service}_url")
        observer.tracer = Tracer(
            queue.add, settings.traces_sample_percent, server=server_attributes(url)
        )


def server_attributes(url: str) -> dict[str, str | int]:
    """Attributes of requests to the public URL of a service."""
    parts = urlsplit(url)
    if not parts.hostname:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"url.scheme": parts.scheme, "server.address": parts.hostname, "server.port": port}
