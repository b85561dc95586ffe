"""Allowed decisions that the client of the gateway keeps for a short time."""

import hashlib
import math
import time
from threading import Lock
from typing import Any

import msgspec
from msgspec import structs

from gatehouse_client.gateway import Verification

LIFETIME_S_MAX = 60.0
_ENTRIES_MAX = 10_000


class DecisionCache:
    """Contains no token. Raises ValueError if the lifetime is not from 0 to LIFETIME_S_MAX."""

    def __init__(self, lifetime_s: float) -> None:
        if not 0 <= lifetime_s <= LIFETIME_S_MAX:
            raise ValueError(f"cache_s must be from 0 to {LIFETIME_S_MAX:.0f}")
        self._lifetime_s = lifetime_s
        self._entries: dict[bytes, tuple[Verification, float, float]] = {}
        self._lock = Lock()

    def get(self, request: dict[str, Any]) -> Verification | None:
        """The decision on an equal request. Its staleness has the time in the cache."""
        if not self._lifetime_s:
            return None
        now = time.time()
        decision, decided_at, end = self._entries.get(_digest(request), (None, 0.0, 0.0))
        if decision is None or not decided_at <= now < end:
            return None
        age_ms = int((now - decided_at) * 1000)
        staleness_ms = decision.staleness_ms + age_ms
        return structs.replace(decision, limits=[], headers={}, staleness_ms=staleness_ms)

    def put(self, request: dict[str, Any], decision: Verification) -> None:
        has_credits = decision.credits is not None or decision.shared_credits is not None
        is_allowed = decision.valid and decision.code == "VALID"
        counted = (has_credits and request["cost"] != 0) or "request" in request
        if not self._lifetime_s or not is_allowed or counted:
            return
        now, key = time.time(), _digest(request)
        end = decision.expires_at.timestamp() if decision.expires_at else math.inf
        with self._lock:
            self._entries.pop(key, None)  # an entry that is replaced becomes the last
            self._entries[key] = (decision, now, min(end, now + self._lifetime_s))
            if len(self._entries) > _ENTRIES_MAX:
                del self._entries[next(iter(self._entries))]


def _digest(request: dict[str, Any]) -> bytes:
    normal = {**request, "scopes": sorted(request["scopes"])}
    return hashlib.sha256(msgspec.json.encode(normal)).digest()
