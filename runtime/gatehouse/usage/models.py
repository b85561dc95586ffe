"""Usage of API keys: batches that gateway workers write, and points of reports."""

from __future__ import annotations

import msgspec

#: Widths of the stored buckets in seconds -> retention in seconds.
RETENTION_S = {60: 2 * 86_400, 3600: 90 * 86_400, 86_400: 3 * 366 * 86_400}

#: Maximum number of points in a report.
POINTS_MAX = 10_000


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """Requests of one minute."""

    key_id: str  # empty: possession of a key was not proven
    core: str  # empty: no registered Core was requested
    code: str
    minute: int  # Unix seconds of its start
    count: int


class AddressUse(msgspec.Struct, frozen=True, gc=False):
    """A key was used from an address. An IPv6 address is represented by its /64 network."""

    key_id: str
    address: str


class UsageBatch(msgspec.Struct, frozen=True):
    """Requests that one worker counted. A batch whose number the worker has sent before is ignored."""

    worker_id: str
    number: int
    at: float  # Unix seconds
    rows: tuple[UsageRow, ...]
    last_used: dict[str, float]  # key id -> Unix seconds of the last successful use, to the second
    addresses: tuple[AddressUse, ...] = ()
    bursts: dict[str, int] = {}  # key id -> denied requests in the minute that exceeded the threshold


class UnusualUse(msgspec.Struct, frozen=True):
    """Unusual use of a key, which causes a notification."""

    key_id: str
    kind: str  # new_address, denials or dormant
    address: str = ""
    number: int = 0  # denied requests in a minute, or days without use


class UsagePoint(msgspec.Struct, frozen=True):
    """Requests of one bucket. Columns that the report sums over are None."""

    starts_at: float
    key_id: str | None
    core: str | None
    code: str | None
    count: int
