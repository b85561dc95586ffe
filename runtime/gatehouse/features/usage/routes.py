"""Endpoints for usage and recorded requests."""

import math
from functools import partial

import msgspec

from gatehouse.core.clock import rfc3339
from gatehouse.core.roles import KEY_READERS, READERS
from gatehouse.features.usage.models import WIDTHS_S, RecordedRequest
from gatehouse.features.usage.repository import POINTS_MAX, UsageRepository
from gatehouse.features.usage.retention import RETENTION_S
from gatehouse.features.usage.schemas import (
    BUCKETS_DEFAULT,
    BUCKETS_MAX,
    KEYS_RANGE_S_DEFAULT,
    KEYS_RANGE_S_MAX,
    FilterRequests,
    KeyTotal,
    KeyTotals,
    LimitUses,
    ListKeyUsage,
    ListLimitUse,
    ListRequests,
    ReadUsage,
    RequestPage,
    RequestView,
    UsageSeries,
    WeekBefore,
)
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.fields import time_range
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.validation import invalid

_HOUR_S = 3600
#: Maximum number of keys in the totals of requests.
KEYS_MAX = 10
_WEEK_S = 7 * 86_400


async def read_usage(request: Request, query: ReadUsage, usage: UsageRepository) -> UsageSeries:
    """Retrieve usage as a time series.

    Counts requests by minute, hour or day, in total or split by key, Core, result code, customer
    and tag. Requests of the agents of Cores are counted apart (`code=AGENT`). The role `service`
    reads the usage of customers that it created.
    """
    width_s = WIDTHS_S[query.width]
    since, until = time_range(query, request.now, BUCKETS_DEFAULT * width_s, math.inf)
    since = since // width_s * width_s
    if (until - since) / width_s > BUCKETS_MAX:
        raise invalid(
            "query.since",
            f"covers more than {BUCKETS_MAX} buckets",
            "send a later timestamp or a larger width",
        )
    series = partial(
        usage.series,
        width_s=width_s,
        key_ids=query.key.split(",") if query.key else (),
        core=query.core,
        code=query.code,
        customer_id=query.customer,
        creator=request.authenticated.creator,
        tag=query.tag,
    )
    by = query.by.replace("key", "key_id").replace("customer", "customer_id")
    columns = frozenset(filter(None, by.split(",")))
    points = await series(since=since, until=until, by=columns)
    if len(points) > POINTS_MAX:
        fix = "send a shorter time range or fewer dimensions, or filter by key"
        raise invalid("query", f"selects more than {POINTS_MAX} points", fix)
    # With several tags, a request is in several points.
    whole = await series(since=since, until=until) if "tag" in columns else points
    complete, week_before = until // width_s * width_s, None
    known_since = request.now - RETENTION_S[width_s]
    if query.compare and since < complete and since - _WEEK_S >= known_since:
        earlier = await series(since=since - _WEEK_S, until=complete - _WEEK_S)
        end = rfc3339(complete)
        compared = sum(point.count for point in whole if point.at < end)
        week_before = WeekBefore(end, compared, sum(point.count for point in earlier))
    return UsageSeries(
        width_s=width_s,
        since=rfc3339(since),
        until=rfc3339(until),
        total=sum(point.count for point in whole),
        points=points,
        week_before=week_before,
    )


async def list_key_usage(
    request: Request, query: ListKeyUsage, usage: UsageRepository
) -> KeyTotals:
    """List the keys with the most requests.

    Counts requests by key.
    """
    since, until = time_range(query, request.now, KEYS_RANGE_S_DEFAULT, KEYS_RANGE_S_MAX)
    since = since // _HOUR_S * _HOUR_S
    totals = await usage.busiest(width_s=_HOUR_S, since=since, until=until, limit=query.limit)
    return KeyTotals(
        since=rfc3339(since),
        until=rfc3339(until),
        keys=[KeyTotal(key, count) for key, count in totals],
    )


async def list_limit_use(
    request: Request, query: ListLimitUse, usage: UsageRepository
) -> LimitUses:
    """List the keys near their limits.

    Returns the rate limits of keys, and the credits with a refill, of which at least 80 % are
    used, or another percentage.
    """
    uses = await usage.limit_use(
        now=request.now, percent_min=query.percent, key_id=query.key, limit=query.limit
    )
    return LimitUses(uses)


async def list_requests(
    request: Request, query: ListRequests, usage: UsageRepository
) -> RequestPage:
    """List the requests to the gateway.

    Returns requests that have ended, with the decision, the response and the duration. Of many
    similar requests, one represents the others (`count`), so that totals are exact. They are
    deleted after `GATEHOUSE_REQUEST_RETENTION_DAYS`.
    """
    only = msgspec.convert(query, FilterRequests, from_attributes=True)
    cursors = request.cursors(f"requests|{only!r}|{query.order}")
    after = cursors.read(query.cursor, tuple[float, int])
    found, last = await usage.requests(
        only, after=after, size=query.limit, oldest=query.order == "oldest"
    )
    totals = await usage.request_totals(only, KEYS_MAX) if query.totals else None
    views = [_view(each, customer) for each, customer in found]
    return RequestPage(views, cursors.write(last), totals)


def _view(request: RecordedRequest, customer: str) -> RequestView:
    return RequestView(
        at=rfc3339(request.began_at),
        key=request.key_id,
        customer=customer,
        core=request.core,
        code=request.code,
        check=request.failed_check,
        detail=request.detail,
        method=request.method,
        path=request.path,
        status=request.status or None,
        ms=_ms(request.duration_us),
        core_ms=_ms(request.core_us),
        address=request.address,
        request_id=request.request_id,
        count=request.count,
    )


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


_usage = partial(Endpoint, "GET", tag="usage", roles=READERS)

ENDPOINTS = (
    _usage("/v1/usage", read_usage, roles=KEY_READERS),
    _usage("/v1/usage/keys", list_key_usage),
    _usage("/v1/requests", list_requests),
    _usage("/v1/usage/limits", list_limit_use),
)
