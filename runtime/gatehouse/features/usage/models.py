"""Counted requests of API keys: rows and batches of gateway workers."""

import msgspec


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """Number of requests in one minute with the same key, Core and result code."""

    key_id: str  # empty: possession of a key was not proven
    core: str  # empty: no registered Core was requested
    code: str
    minute: int  # start of the minute in Unix seconds
    count: int


class UsageBatch(msgspec.Struct, frozen=True):
    """Requests that one worker counted. A batch whose number the worker has sent before is
    ignored.
    """

    worker_id: str
    number: int
    at: float  # Unix seconds of the last of these requests, to the second
    rows: tuple[UsageRow, ...]
