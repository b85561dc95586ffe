"""Counted requests, and recorded ones: rows and batches of gateway workers."""

from typing import Literal

import msgspec

Width = Literal["minute", "hour", "day"]
#: Widths of the stored buckets in seconds, and their retention in seconds.
WIDTHS_S: dict[Width, int] = {"minute": 60, "hour": 3600, "day": 86_400}


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """Number of requests in one minute with the same key, Core and result code."""

    key_id: str  # empty: possession of a key was not proven
    core: str  # empty: no registered Core was requested
    code: str
    minute: int  # start of the minute in Unix seconds
    count: int


class RecordedRequest(msgspec.Struct, gc=False):
    """A request. `count`: number of requests that it represents, with the same key, Core, code,
    check and status.

    core: as the client named it. failed_check: empty if the request was allowed. detail: what the
    check required, such as a scope. path: without the query. core_us: part of the duration for
    which the Core was responsible; None if the gateway itself responded. The row of other requests,
    of which none is recorded, has only a time, a code, a check, a status and a count.
    """

    began_at: float  # Unix seconds
    key_id: str = ""  # empty: possession of a key was not proven
    core: str = ""  # empty: no Core was requested
    code: str = ""
    failed_check: str = ""
    detail: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    duration_us: int | None = None
    core_us: int | None = None
    address: str = ""
    request_id: str = ""
    count: int = 1


class UsageBatch(msgspec.Struct, frozen=True):
    """Requests that one worker counted. A batch whose number the worker has sent before is
    ignored.
    """

    worker_id: str
    number: int
    at: float  # Unix seconds of the last of these requests, to the second
    rows: tuple[UsageRow, ...]
    requests: tuple[RecordedRequest, ...] = ()
