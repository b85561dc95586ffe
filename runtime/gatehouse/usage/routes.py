"""GET /v1/usage: how often keys were used, as a series for a chart.

GET /v1/keys/{id}/usage: when, how and from where one key is used.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.console.dependencies import Door
from gatehouse.crypto.token import key_id
from gatehouse.errors import BadRequest, NotFound, Problem
from gatehouse.timestamps import rfc3339
from gatehouse.usage.models import POINTS_MAX
from gatehouse.usage.schemas import BUCKETS_DEFAULT, BUCKETS_MAX, WIDTHS_S, KeyUsage, ReadUsage, UsagePointView, UsageSeries

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


_HOUR_S, _DAY_S = 3600, 86_400


async def show_key_usage(id: str, door: Door) -> KeyUsage:
    """Show how a key is used. Whoever rotates a key sees here whether the old one still is."""
    known = key_id(id)
    if known is None or await door.keys.get(known) is None:
        raise NotFound("There is no key with this id")
    used = (await door.usage.last_used((known,))).get(known)
    return KeyUsage(
        key=known,
        last_used_at=None if used is None else rfc3339(used),
        addresses=list(await door.usage.addresses(known)),
        last_hour=await _by_code(door, known, 60, _HOUR_S),
        last_day=await _by_code(door, known, _HOUR_S, _DAY_S),
    )


async def _by_code(door: Door, key: str, width_s: int, seconds: int) -> dict[str, int]:
    now = door.clock.now()
    points = await door.usage.series(width_s=width_s, since=now - seconds, until=now, by=frozenset({"code"}), key_id=key)
    counts: dict[str, int] = {}
    for point in points:
        counts[point.code or ""] = counts.get(point.code or "", 0) + point.count
    return counts
