"""Request and response shapes of usage."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from gatehouse.core.verification import Code
from gatehouse.platform.web.fields import Input, Instant, Timestamp, View
from gatehouse.platform.web.validation import matching

WIDTHS_S = {"minute": 60, "hour": 3600, "day": 86_400}

#: Maximum number of buckets between `since` and `until`.
BUCKETS_MAX = 1500

#: Number of buckets before `until` if `since` is omitted.
BUCKETS_DEFAULT = 60

Width = Literal["minute", "hour", "day"]
Until = Annotated[
    Timestamp | None,
    Meta(description="End of the time range, as an RFC 3339 timestamp. Default: now."),
]


class ReadUsage(Input, kw_only=True):
    """Query parameters of a time series."""

    width: Annotated[
        Width,
        Meta(
            description="Width of a bucket. Retention: 2 days for minute buckets, 90 days for hour "
            "buckets, 3 years for day buckets."
        ),
    ] = "hour"
    since: Annotated[
        Timestamp | None,
        Meta(
            description="Start of the time range, as an RFC 3339 timestamp, rounded down to the "
            f"start of a bucket. Default: {BUCKETS_DEFAULT} buckets before `until`."
        ),
    ] = None
    until: Until = None
    by: Annotated[
        str,
        matching(
            r"((key|core|code)(,(key|core|code)){0,2})?",
            max_length=40,
            description="Dimensions to split the counts by: `key`, `core`, `code`, separated "
            "by commas. Default: totals.",
        ),
    ] = ""
    key: Annotated[
        Annotated[str, matching(r"[0-9A-Za-z]{12}")] | None,
        Meta(description="Filter by the ID of a key."),
    ] = None
    core: Annotated[
        Annotated[str, Meta(max_length=40)] | None,
        Meta(description="Filter by the name of a Core."),
    ] = None
    code: Annotated[
        Code | None, Meta(description="Filter by result code, such as `RATE_LIMITED`.")
    ] = None


#: Maximum time range of a list of keys, and the range if `since` is omitted.
KEYS_RANGE_S_MAX = 31 * 86_400
KEYS_RANGE_S_DEFAULT = 86_400


class ListKeyUsage(Input, kw_only=True):
    """Query parameters of the list of keys with the most requests."""

    since: Annotated[
        Timestamp | None,
        Meta(
            description="Start of the time range, as an RFC 3339 timestamp, rounded down to the "
            f"start of an hour. At most {KEYS_RANGE_S_MAX // 86_400} days before `until`. Default: "
            f"{KEYS_RANGE_S_DEFAULT // 3600} hours before `until`."
        ),
    ] = None
    until: Until = None
    result: Annotated[
        Literal["any", "denied"],
        Meta(
            description=(
                "Requests to count: `any`, or only `denied` requests (any code except `VALID`)."
            )
        ),
    ] = "any"
    limit: Annotated[int, Meta(ge=1, le=100, description="Maximum number of keys.")] = 10


class KeyTotal(View):
    """Number of requests with a key."""

    key: str
    count: int


class KeyTotals(View, kw_only=True):
    """Keys with the most requests, in descending order. Keys without requests are omitted."""

    example: ClassVar = {"until": "2030-06-02T09:00:00Z"}

    since: Instant
    until: Instant
    keys: list[KeyTotal]


class UsagePointView(View):
    """Counts in a bucket. A dimension (`key`, `core`, `code`) is null unless the query splits the
    counts by this dimension.

    A dimension is empty if the request had no such value.
    """

    at: Annotated[Instant, Meta(description="Start of the bucket.")]
    key: str | None
    core: str | None
    code: str | None
    count: int


class UsageSeries(View, kw_only=True):
    """Counts by bucket, oldest first. A bucket without requests has no point. The current second is
    not included.
    """

    example: ClassVar = {"width_s": 3600, "until": "2030-06-01T10:00:00Z"}

    width_s: int
    since: Instant
    until: Instant
    total: int
    points: list[UsagePointView]
