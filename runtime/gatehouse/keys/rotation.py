"""Expiry rules of keys and their rotation: lifetime of the successor and end of the grace period. Pure."""

from __future__ import annotations

import math

import msgspec

from gatehouse.errors import BadRequest, Conflict, Problem
from gatehouse.keys.lifecycle import TTL_S_MAX
from gatehouse.keys.models import Key, RotationOptions


def check_expiry(expires_at: float | None, now: float) -> None:
    """Raises BadRequest if the time is in the past or more than TTL_S_MAX ahead. None: the key does not expire."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise _bad_expiry("is in the past", "send a later time")
    if expires_at > now + TTL_S_MAX:
        raise _bad_expiry("is more than ten years ahead", "send an earlier time, and rotate the key before it expires")


def check_rotated_expiry(key: Key, expires_at: float | None, now: float) -> None:
    """Like `check_expiry`; the expiry of a rotated key cannot be extended either."""
    check_expiry(expires_at, now)
    if key.successor_id is not None and key.expires_at is not None and (expires_at is None or expires_at > key.expires_at):
        problem = Problem("body.expires_at", "is later than the end of the grace period", "let clients use the successor")
        raise BadRequest("The lifetime of a rotated key cannot be extended", errors=(problem,))


def check_rotatable(key: Key, now: float) -> None:
    """Raises Conflict if the key was rotated before or has expired."""
    if key.successor_id is not None:
        raise Conflict(f"The key was rotated before; rotate its successor {key.successor_id}")
    if key.expires_at is not None and key.expires_at <= now:
        raise Conflict("The key has expired; create a new one")


def end_of_grace_period(key: Key, options: RotationOptions, now: float) -> float:
    ends_at = now + options.grace_s
    return ends_at if key.expires_at is None else min(ends_at, key.expires_at)


def successor(key: Key, options: RotationOptions, now: float, created_by: str) -> Key:
    """A copy of the key with its own lifetime. The caller sets id and digest. Raises BadRequest (expiry)."""
    expires_at = options.expires_at
    if options.ttl_s is not None:
        expires_at = now + options.ttl_s
    elif expires_at is None and key.expires_at is not None:
        expires_at = min(now + (key.expires_at - key.created_at), now + TTL_S_MAX)
    check_expiry(expires_at, now)
    return msgspec.structs.replace(
        key,
        expires_at=expires_at,
        version=1,
        created_at=now,
        created_by=created_by,
        generation=key.generation + 1,
        last_used_at=None,
    )


def lives_as_long(key: Key, other: Key) -> bool:
    """True if the key does not expire before the other one."""
    return _end(key) >= _end(other)


def _end(key: Key) -> float:
    return math.inf if key.expires_at is None else key.expires_at


def _bad_expiry(message: str, fix: str) -> BadRequest:
    return BadRequest("This expiry is not allowed", errors=(Problem("body.expires_at", message, fix),))
