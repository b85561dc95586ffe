"""GET /v1/keys/{id}/usage: when, how and from where one key is used."""

from __future__ import annotations

from gatehouse.core.apikey import key_id
from gatehouse.doors.console.caller import Door
from gatehouse.errors import NotFound
from gatehouse.wire.key_parts import rfc3339
from gatehouse.wire.usage import KeyUsage

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
    points = await door.usage.series(
        width_s=width_s, since=now - seconds, until=now, by=frozenset({"code"}), key_id=key, core=None, code=None
    )
    counts: dict[str, int] = {}
    for point in points:
        counts[point.code or ""] = counts.get(point.code or "", 0) + point.count
    return counts
