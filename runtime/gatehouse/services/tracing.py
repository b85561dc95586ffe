"""Starts the export of traces of a service.

OpenTelemetry is imported only if traces are exported, because the import takes 80 ms.
"""

import os
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import Settings, SharingSettings
from gatehouse.platform.tracing.tracer import Tracer

#: Set by Lambda if the function has X-Ray tracing (Lambda Developer Guide, "Using Lambda
#: environment variables").
DAEMON_VARIABLE = "AWS_XRAY_DAEMON_ADDRESS"


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
        url = getattr(settings, f"{observer.service}_url")
        observer.tracer = Tracer(queue.add, settings.traces_sample_percent, server=_server(url))


def start_function_tracing(observer: Observer, url: str) -> None:
    """Starts the export of traces of a Lambda function if the function has X-Ray tracing. Lambda
    decides which requests are sampled."""
    address = os.environ.get(DAEMON_VARIABLE, "")
    if address:
        from gatehouse.platform.tracing.export import DaemonExporter, immediate_export

        add = immediate_export(
            DaemonExporter(address), service=observer.service, environment=observer.environment
        )
        observer.tracer = Tracer(add, server=_server(url))


def _server(url: str) -> dict[str, str | int]:
    """Attributes of requests to the public URL of a service."""
    parts = urlsplit(url)
    if not parts.hostname:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"url.scheme": parts.scheme, "server.address": parts.hostname, "server.port": port}
