"""GET /v1/usage: how often keys were used, as a series for a chart."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.doors.console.caller import Door
from gatehouse.errors import BadRequest, Problem
from gatehouse.store.ports_usage import POINTS_MAX
from gatehouse.wire.key_parts import rfc3339
from gatehouse.wire.usage import BUCKETS_DEFAULT, BUCKETS_MAX, WIDTHS_S, ReadUsage, UsagePointView, UsageSeries

_COLUMNS = {"key": "key_id", "core": "core", "code": "code"}


async def read_usage(query: Annotated[ReadUsage, Query()], door: Door) -> UsageSeries:
    """Read the counts of use by minute, hour or day: all requests, or split by key, Core and outcome."""
    width_s = WIDTHS_S[query.width]
    until = door.clock.now() if query.until is None else query.until.timestamp()
    first = until - BUCKETS_DEFAULT * width_s if query.since is None else query.since.timestamp()
    since = first // width_s * width_s
    if since >= until:
        raise _refused("query.since", "is not before `until`", "send an earlier instant")
    if (until - since) / width_s > BUCKETS_MAX:
        raise _refused("query.since", f"asks for more than {BUCKETS_MAX} buckets", "send a later instant, or a larger width")
    parts = frozenset(query.by.split(",")) if query.by else frozenset()
    points = await door.usage.series(
        width_s=width_s,
        since=since,
        until=until,
        by=frozenset(_COLUMNS[part] for part in parts),
        key_id=query.key,
        core=query.core,
        code=query.code,
    )
    if len(points) > POINTS_MAX:
        raise _refused("query", f"asks for more than {POINTS_MAX} points", "narrow the time, split less, or name a key")
    return UsageSeries(
        width_s=width_s,
        since=rfc3339(since),
        until=rfc3339(until),
        total=sum(point.count for point in points),
        points=[
            UsagePointView(at=rfc3339(one.starts_at), key=one.key_id, core=one.core, code=one.code, count=one.count)
            for one in points
        ],
    )


def _refused(location: str, message: str, fix: str) -> BadRequest:
    return BadRequest("The series cannot be made", errors=(Problem(location, message, fix),))
