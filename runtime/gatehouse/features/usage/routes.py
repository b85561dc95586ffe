"""Endpoints for usage."""

from gatehouse.core.clock import rfc3339
from gatehouse.core.roles import READERS
from gatehouse.features.usage.repository import POINTS_MAX, UsageRepository
from gatehouse.features.usage.schemas import (
    BUCKETS_DEFAULT,
    BUCKETS_MAX,
    KEYS_RANGE_S_DEFAULT,
    KEYS_RANGE_S_MAX,
    WIDTHS_S,
    KeyTotal,
    KeyTotals,
    ListKeyUsage,
    ReadUsage,
    UsageSeries,
)
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.fields import unix_seconds
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.validation import invalid

_COLUMNS = {"key": "key_id", "core": "core", "code": "code"}
_HOUR_S = 3600


async def read_usage(request: Request, query: ReadUsage, usage: UsageRepository) -> UsageSeries:
    """Retrieve usage as a time series.

    Counts requests by minute, hour or day, in total or split by key, Core and result code.
    """
    width_s = WIDTHS_S[query.width]
    since, until = _time_range(request, query, BUCKETS_DEFAULT * width_s)
    since = since // width_s * width_s
    if (until - since) / width_s > BUCKETS_MAX:
        raise invalid(
            "query.since",
            f"covers more than {BUCKETS_MAX} buckets",
            "send a later timestamp or a larger width",
        )
    points = await usage.series(
        width_s=width_s,
        since=since,
        until=until,
        by=frozenset(_COLUMNS[dimension] for dimension in query.by.split(",") if dimension),
        key_id=query.key,
        core=query.core,
        code=query.code,
    )
    if len(points) > POINTS_MAX:
        fix = "send a shorter time range or fewer dimensions, or filter by key"
        raise invalid("query", f"selects more than {POINTS_MAX} points", fix)
    return UsageSeries(
        width_s=width_s,
        since=rfc3339(since),
        until=rfc3339(until),
        total=sum(point.count for point in points),
        points=points,
    )


async def list_key_usage(
    request: Request, query: ListKeyUsage, usage: UsageRepository
) -> KeyTotals:
    """List the keys with the most requests.

    Counts requests by key, for example the denied requests of the last 24 hours.
    """
    since, until = _time_range(request, query, KEYS_RANGE_S_DEFAULT)
    if until - since > KEYS_RANGE_S_MAX:
        raise invalid(
            "query.since",
            f"is more than {KEYS_RANGE_S_MAX // 86_400} days before `until`",
            "send a later timestamp",
        )
    since = since // _HOUR_S * _HOUR_S
    totals = await usage.busiest(
        width_s=_HOUR_S,
        since=since,
        until=until,
        denied=query.result == "denied",
        limit=query.limit,
    )
    return KeyTotals(
        since=rfc3339(since),
        until=rfc3339(until),
        keys=[KeyTotal(key, count) for key, count in totals],
    )


def _time_range(
    request: Request, query: ReadUsage | ListKeyUsage, default_s: float
) -> tuple[float, float]:
    """Start and end of the time range. default_s: its length if `since` is omitted."""
    until = request.now if query.until is None else unix_seconds(query.until)
    since = until - default_s if query.since is None else unix_seconds(query.since)
    if since >= until:
        raise invalid("query.since", "is not before `until`", "send an earlier timestamp")
    return since, until


ENDPOINTS = (
    Endpoint("GET", "/v1/usage", read_usage, tag="usage", roles=READERS),
    Endpoint("GET", "/v1/usage/keys", list_key_usage, tag="usage", roles=READERS),
)
