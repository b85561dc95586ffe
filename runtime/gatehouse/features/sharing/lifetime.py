"""Lifetime of links. Requests specify either `ttl_s` or `expires_at`, and both have the same
bounds.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from gatehouse.features.sharing.models import TTL_S_DEFAULT, TTL_S_MAX, TTL_S_MIN
from gatehouse.platform.http.fields import Timestamp, unix_seconds
from gatehouse.platform.http.validation import invalid

Ttl = Annotated[
    int,
    Meta(
        ge=TTL_S_MIN,
        le=TTL_S_MAX,
        description=f"Lifetime of the links in seconds. Default: {TTL_S_DEFAULT} (three days).",
    ),
]
ExpiresAt = Annotated[
    Timestamp | None,
    Meta(
        description="Time at which the links expire, as an RFC 3339 timestamp. Cannot be "
        "combined with `ttl_s`. At most"
        f" {TTL_S_MAX // 86_400} days in the future."
    ),
]


def check_lifetime(ttl_s: int | None, expires_at: str | None) -> None:
    """Raise ValueError if both values are set."""
    if ttl_s is not None and expires_at is not None:
        raise ValueError("must contain ttl_s or expires_at, not both")


def lifetime(ttl_s: int | None, expires_at: str | None, now: float) -> float:
    """Return the lifetime in seconds. Raises BadRequest if the expiry is out of bounds."""
    if expires_at is None:
        return float(ttl_s or TTL_S_DEFAULT)
    seconds = unix_seconds(expires_at) - now
    if not TTL_S_MIN <= seconds <= TTL_S_MAX:
        bounds = (
            f"is less than {TTL_S_MIN // 60} minutes or more than {TTL_S_MAX // 86_400} "
            f"days in the future"
        )
        raise invalid("body.expires_at", bounds, "send a time between these limits")
    return seconds
