"""The JSON shapes of the use of keys: a query for a series, the series, and one key's use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gatehouse.keys.schemas import Instant

WIDTHS_S = {"minute": 60, "hour": 3600, "day": 86_400}


#: Buckets between `since` and `until`.
BUCKETS_MAX = 1500


#: Without `since`: this many buckets up to now.
BUCKETS_DEFAULT = 60


PARTS = ("key", "core", "code")


class ReadUsage(BaseModel):
    """The query of a series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: Annotated[
        Literal["minute", "hour", "day"], Field(description="Of a bucket. Minutes are kept 2 days, hours 90 days, days 3 years.")
    ] = "hour"
    since: Annotated[
        Instant | None,
        Field(description=f"RFC 3339; rounded down to a bucket. Default: {BUCKETS_DEFAULT} buckets before `until`."),
    ] = None
    until: Annotated[Instant | None, Field(description="RFC 3339. Default: now.")] = None
    by: Annotated[
        str,
        Field(
            pattern=r"^(key|core|code)(,(key|core|code)){0,2}$|^$",
            description="What to split the counts by: key, core, code, with commas between. Nothing: sums.",
        ),
    ] = ""
    key: Annotated[str | None, Field(pattern=r"^[0-9A-Za-z]{12}$", description="Only this key's id.")] = None
    core: Annotated[str | None, Field(max_length=40, description="Only this Core.")] = None
    code: Annotated[str | None, Field(pattern=r"^[A-Z_]{1,40}$", description="Only this outcome, such as RATE_LIMITED.")] = None


class UsagePointView(BaseModel):
    """`key`, `core` and `code` are null unless the query splits by them; an empty text means none."""

    at: Annotated[str, Field(description="Beginning of the bucket, RFC 3339.")]
    key: str | None
    core: str | None
    code: str | None
    count: int


class UsageSeries(BaseModel):
    """Counts by bucket, oldest first. A bucket without a request has no point. The running second is not in it yet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "width_s": 3600,
                    "since": "2030-06-01T08:00:00Z",
                    "until": "2030-06-01T10:00:00Z",
                    "total": 42,
                    "points": [{"at": "2030-06-01T09:00:00Z", "key": None, "core": "docs", "code": None, "count": 42}],
                }
            ]
        }
    )

    width_s: int
    since: str
    until: str
    total: int
    points: list[UsagePointView]


class KeyUsage(BaseModel):
    """How one key is used: what to look at before its predecessor is closed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "3fGh82kLmQ0a",
                    "last_used_at": "2030-06-01T09:12:00Z",
                    "addresses": ["192.0.2.7", "2001:db8::/64"],
                    "last_hour": {"VALID": 40, "RATE_LIMITED": 2},
                    "last_day": {"VALID": 900, "RATE_LIMITED": 2},
                }
            ]
        }
    )

    key: str
    last_used_at: Annotated[str | None, Field(description="Last successful use, to the second; null when there was none.")]
    addresses: Annotated[list[str], Field(description="From where, newest first, up to 100; an IPv6 network counts as one.")]
    last_hour: Annotated[dict[str, int], Field(description="Requests by outcome in the last 60 minutes.")]
    last_day: Annotated[dict[str, int], Field(description="Requests by outcome in the last 24 hours.")]
