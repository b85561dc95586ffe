"""Request and response shapes of usage and of recorded requests."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from gatehouse.core.decision import CHECKS, CODES
from gatehouse.core.texts import matching
from gatehouse.features.usage.models import Width
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    REQUEST_ID,
    Cursor,
    Input,
    Instant,
    KeyReference,
    NextCursor,
    OfCore,
    OfCustomer,
    OfKey,
    PageSize,
    TimeOrder,
    TimeRange,
    Timestamp,
    View,
    doc,
)
from gatehouse.platform.web.validation import checked, reference, unchanged

#: Maximum number of buckets between `since` and `until`.
BUCKETS_MAX = 1500

#: Number of buckets before `until` if `since` is omitted.
BUCKETS_DEFAULT = 60

Until = Annotated[
    Timestamp | None, doc("End of the time range, as an RFC 3339 timestamp. Default: now.")
]


def _one_of(values: Mapping[str, str]) -> Meta:
    text = f"must be one of {', '.join(values)}"
    allowed = {"enum": list(values)}
    return checked(lambda value: "" if value in values else text, extra_json_schema=allowed)


def _texts(values: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` ({text})" for name, text in values.items())


CodeName = Annotated[str, _one_of(CODES)]
CheckName = Annotated[str, _one_of(CHECKS)]


class ReadUsage(Input, kw_only=True):
    """Query parameters of a time series."""

    width: Annotated[
        Width,
        doc(
            "Width of a bucket. Retention: 2 days for minute buckets, 90 days for hour "
            "buckets, 3 years for day buckets."
        ),
    ] = "hour"
    since: Annotated[
        Timestamp | None,
        doc(
            "Start of the time range, rounded down to the start of a bucket. "
            f"Default: {BUCKETS_DEFAULT} buckets before `until`."
        ),
    ] = None
    until: Until = None
    by: Annotated[
        str,
        matching(
            r"((key|core|code|customer|tag)(,(key|core|code|customer|tag)){0,4})?",
            "key, core, code, customer or tag, or several with commas, such as core,code",
            max_length=40,
            description="Dimensions to split the counts by, with commas between several: key, "
            "core, code, customer, tag. A request is counted for each tag of its key. Default: "
            "totals.",
        ),
    ] = ""
    key: Annotated[
        Annotated[str, reference("keys", max_length=1300)] | None,
        doc("Filter by key: its ID, its name or its tag. Several keys: separated by commas."),
    ] = None
    core: OfCore = None
    code: Annotated[
        CodeName | None,
        doc(
            f"Filter by result code: {_texts(CODES)}. `AGENT`: requests that are counted only with "
            "this filter."
        ),
    ] = None
    customer: OfCustomer = None
    tag: Annotated[
        Annotated[str, unchanged(max_length=100)] | None, doc("Filter by a current tag of the key.")
    ] = None
    compare: Annotated[bool, doc("Compare the complete buckets with those one week earlier.")] = (
        False
    )


#: Maximum time range of a list of keys, and the range if `since` is omitted.
KEYS_RANGE_S_MAX = 31 * 86_400
KEYS_RANGE_S_DEFAULT = 86_400


class ListKeyUsage(Input, kw_only=True):
    """Query parameters of the list of keys with the most requests."""

    since: Annotated[
        Timestamp | None,
        doc(
            "Start of the time range, rounded down to the start of an hour. "
            f"At most {KEYS_RANGE_S_MAX // 86_400} days before `until`. Default: "
            f"{KEYS_RANGE_S_DEFAULT // 3600} hours before `until`."
        ),
    ] = None
    until: Until = None
    limit: Annotated[int, doc("Maximum number of keys.", ge=1, le=100)] = 10


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
    """Counts in a bucket. A dimension, such as `key`, is null unless the query splits the counts by
    it, and empty for requests without such a value."""

    at: Annotated[Instant, doc("Start of the bucket.")]
    count: int
    key: str | None
    core: str | None
    code: str | None
    customer: str | None
    tag: str | None


class WeekBefore(View):
    """The requests in the complete buckets of a series, and in the buckets one week earlier."""

    example: ClassVar = {"total": 120, "total_before": 100}

    until: Annotated[Instant, doc("End of the last complete bucket.")]
    total: int
    total_before: int


class UsageSeries(View, kw_only=True):
    """Counts by bucket, oldest first, without the current second. A bucket without requests has no
    point."""

    example: ClassVar = {
        "width_s": 3600,
        "until": "2030-06-01T10:00:00Z",
        "week_before": example(WeekBefore),
    }

    width_s: int
    since: Instant
    until: Instant
    total: int
    points: list[UsagePointView]
    week_before: Annotated[
        WeekBefore | None,
        doc(
            "Null without `compare=true`, without a complete bucket, and if the buckets one week "
            "earlier are older than the retention, as all minute buckets are."
        ),
    ] = None


#: Percentage of a limit from which a key is near the limit.
NEAR_LIMIT_PERCENT = 80


class ListLimitUse(Input, kw_only=True):
    """Query parameters of the list of used limits."""

    percent: Annotated[int, doc("Minimum percentage of the limit that is used.", ge=0, le=1000)] = (
        NEAR_LIMIT_PERCENT
    )
    key: Annotated[
        KeyReference | None,
        doc(
            "Filter by key: its ID, its name or its tag. All limits of the family of the key are "
            "counted."
        ),
    ] = None
    limit: Annotated[int, doc("Maximum number of limits.", ge=1, le=100)] = 100


class LimitUse(View):
    """The use of a rate limit or of the credits of an active key. All keys in the family of the key
    count.

    For a rate limit, `used` is the number of `VALID` and `AGENT` requests in the last window, from
    the start of its first minute, hour or day, times the `cost` of the limit, and `allowed` is the
    quota for this time. A burst can be denied at a lower percentage. For credits, `allowed` is the
    amount of the refill, and `used` is the part that is no longer available. Credits without a
    refill are not listed.
    """

    example: ClassVar = {"name": "requests", "quota": 600, "window_s": 60, "percent": 85}

    key: Annotated[str, doc("ID of the newest key in the family.")]
    kind: Literal["rate_limit", "credits"]
    name: Annotated[str, doc("Name of the rate limit. Empty for credits.")]
    quota: Annotated[int, doc("Units per window, or the amount of the refill.")]
    window_s: Annotated[int | None, doc("Window of the rate limit. Null for credits.")]
    since: Annotated[Instant, doc("Start of the time for which the use is counted.")]
    used: int
    allowed: int
    percent: Annotated[int, doc("`used` as a percentage of `allowed`, rounded down.")]


class LimitUses(View):
    """Used limits, in descending order of the percentage."""

    limits: list[LimitUse]


class FilterRequests(TimeRange, kw_only=True):
    """Filters for requests."""

    outcome: Annotated[
        Literal["allowed", "denied"] | None,
        doc("Filter by the decision. An allowed request can fail at its Core."),
    ] = None

    key: OfKey = None
    customer: OfCustomer = None
    core: OfCore = None
    check: Annotated[CheckName | None, doc(f"Filter by the failed check: {_texts(CHECKS)}.")] = None
    code: Annotated[CodeName | None, doc("Filter by result code, such as `FORBIDDEN`.")] = None
    method: Annotated[
        Annotated[
            str, matching(r"[A-Z]{1,17}", "1 to 17 uppercase letters, such as GET", max_length=17)
        ]
        | None,
        doc("Filter by the HTTP method."),
    ] = None
    path_prefix: Annotated[
        Annotated[str, unchanged(max_length=200)] | None,
        doc("Filter by the beginning of the path."),
    ] = None
    status: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | None, doc("Filter by the HTTP status.")
    ] = None
    address: Annotated[
        Annotated[str, unchanged(max_length=64)] | None,
        doc("Filter by the IP address of the client."),
    ] = None
    request_id: Annotated[
        Annotated[
            str,
            matching(
                r"[0-9A-Za-z_-]{1,64}",
                f"1 to 64 letters, digits, _ and -, such as {REQUEST_ID}",
                max_length=64,
            ),
        ]
        | None,
        doc("Filter by request ID."),
    ] = None


class ListRequests(FilterRequests, kw_only=True):
    """Query parameters for listing requests."""

    order: TimeOrder = "newest"
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE
    totals: Annotated[bool, doc("Also return the numbers of all matching requests.")] = False


class RequestView(View):
    """A request to the gateway. A field is empty if the value is not known or not recorded."""

    example: ClassVar = {
        "code": "FORBIDDEN",
        "check": "address",
        "method": "GET",
        "path": "/cores/docs/a",
        "status": 403,
        "address": "192.0.2.7",
    }

    at: Annotated[Instant, doc("Time at which the request began.")]
    key: str
    customer: Annotated[str, doc("ID of the current customer of the key.")]
    core: Annotated[str, doc("The Core, as the client named it. It may be unknown.")]
    code: Annotated[
        CodeName, doc("Code of the decision. Clients receive `NOT_FOUND` for `REVOKED`.")
    ]
    check: Annotated[
        Literal[""] | CheckName, doc("The check that failed. Empty if the request was allowed.")
    ]
    detail: Annotated[
        str,
        doc(
            "What the check required, such as scopes, the name of the exceeded limit, "
            "the flaw of the signature, or the code of the error."
        ),
    ]
    method: Annotated[
        str, doc("Of a verification: the method of the request for which it was made.")
    ]
    path: Annotated[str, doc("Path without the query.")]
    status: Annotated[
        int | None, doc("Status of the response. Null if the client received no response.")
    ]
    ms: Annotated[float | None, doc("Duration in milliseconds.")]
    core_ms: Annotated[
        float | None,
        doc(
            "Part of the duration for which the Core was responsible, in milliseconds. Null if the "
            "gateway itself responded."
        ),
    ]
    address: Annotated[str, doc("IP address of the client.")]
    request_id: str
    count: Annotated[
        int,
        doc(
            "Number of requests that this entry represents: under load, it also stands for others "
            "with the same key, Core, code, check and status."
        ),
    ]


class CheckTotal(View):
    """Number of requests that a check denied."""

    example: ClassVar = {"check": "limit"}

    check: CheckName
    count: int


#: Maximum number of recorded requests from which percentiles are computed, the newest ones.
TIMES_MAX = 100_000


class Percentiles(View):
    """Durations in milliseconds that 50, 95 and 99 % of requests do not exceed."""

    example: ClassVar = {"p50": 4.5, "p95": 21.0, "p99": 80.2}

    p50: float
    p95: float
    p99: float


class RequestTotals(View, kw_only=True):
    """Numbers of all requests that match the filters.

    The percentiles are those of the recorded requests that were allowed, each with the weight of
    the requests that it represents. They are null if there are none.
    """

    total: int
    denied: int
    checks: list[CheckTotal]
    keys: Annotated[list[KeyTotal], doc("The keys with the most of these requests.")]
    ms: Annotated[
        Percentiles | None, doc(f"Duration, from at most the newest {TIMES_MAX:,} entries.")
    ]
    core_ms: Annotated[Percentiles | None, doc("Part of the Core, of requests to Cores.")]
    gateway_ms: Annotated[Percentiles | None, doc("Part of the gateway.")]


class RequestPage(View):
    """Requests."""

    requests: list[RequestView]
    next_cursor: NextCursor
    totals: Annotated[
        RequestTotals | None, doc("Null unless the request contains `totals=true`.")
    ] = None
