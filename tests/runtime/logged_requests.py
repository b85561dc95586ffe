"""Requests that an observer logs."""

from dataclasses import dataclass

from gatehouse.platform.metrics import StreamUse
from gatehouse.platform.tracing.context import RequestTrace


@dataclass
class LoggedRequest:
    trace: RequestTrace
    logged_method: str = "GET"
    route: str = "/v1/keys/verify"
    logged_path: str = "/v1/keys/verify"
    core_seconds: float | None = None
    key_id: str | None = None
    code: str | None = None
    detail: str = ""
    stream_use: StreamUse | None = None
