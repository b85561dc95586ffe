"""Usage API."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from gatehouse.core.clock import rfc3339
from gatehouse.core.decision import CHECKS
from gatehouse.features.usage.models import RecordedRequest, UsageBatch, UsageRow
from gatehouse.features.usage.repository import POINTS_MAX, UsageRepository
from gatehouse.features.usage.schemas import FilterRequests

from tests.runtime.console_client import Console, assert_problem
from tests.runtime.rows import key_row

NOW = time.time()
MINUTE = int(NOW // 60) * 60
KEYS = ("", "denied000001", "denied000002")


def add_keys(console: Console, *ids: str) -> None:
    for key_id in ids:
        console.sql(key_row("ON CONFLICT DO NOTHING", id=f"'{key_id}'"))


@pytest.fixture
async def used_key(console: Console) -> str:
    """A key with five valid and two denied requests for Core docs, and a key with one request."""
    console.sql("TRUNCATE usage_count, usage_batch, key_activity")
    key_id = await console.create_id()
    add_keys(console, "another00000")
    rows = (
        UsageRow(key_id, "docs", "VALID", MINUTE, 5),
        UsageRow(key_id, "docs", "RATE_LIMITED", MINUTE, 2),
        UsageRow("another00000", "", "VALID", MINUTE, 1),
    )
    await UsageRepository(console.pool).add(UsageBatch("w", 1, NOW, rows))
    return key_id


async def series(console: Console, **query: str) -> dict[str, Any]:
    """By default until MINUTE, which is long ago at the end of a run of all tests."""
    query = {"until": rfc3339(MINUTE + 60), **query}
    reply = await console.get("/v1/usage", params=query)
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    return document


@pytest.mark.parametrize("width", ["minute", "hour", "day"])
async def test_usage_is_summed_or_grouped(console: Console, used_key: str, width: str) -> None:
    whole = await series(console, width=width)
    assert (whole["total"], [point["count"] for point in whole["points"]]) == (8, [8])
    split = await series(console, width=width, by="key,code")
    assert {
        (point["key"], point["core"], point["code"]): point["count"] for point in split["points"]
    } == {
        (used_key, None, "VALID"): 5,
        (used_key, None, "RATE_LIMITED"): 2,
        ("another00000", None, "VALID"): 1,
    }


async def test_usage_is_filtered(console: Console, used_key: str) -> None:
    assert (await series(console, key=used_key))["total"] == 7
    assert (await series(console, core="docs", code="RATE_LIMITED"))["total"] == 2
    assert (await series(console, key=f"{used_key},another00000"))["total"] == 8
    rows = (UsageRow(used_key, "", "AGENT", MINUTE, 50),)
    await UsageRepository(console.pool).add(UsageBatch("w", 2, NOW, rows))
    assert (await series(console))["total"] == 8
    assert (await series(console, code="AGENT"))["total"] == 50
    assert await keys_with_most_requests(console) == [(used_key, 7), ("another00000", 1)]


async def test_usage_is_split_and_filtered_by_customer_and_tag(
    console: Console, used_key: str
) -> None:
    tagged = await console.create_id(customer_id="billing", tags=["batch", "eu"])
    rows = (UsageRow(tagged, "docs", "VALID", MINUTE, 3), UsageRow("", "", "NOT_FOUND", MINUTE, 1))
    await UsageRepository(console.pool).add(UsageBatch("w", 2, NOW, rows))
    for by, counts in (("customer", {"billing": 3, "": 9}), ("tag", {"batch": 3, "eu": 3, "": 9})):
        split = await series(console, by=by, compare="true")
        assert {point[by]: point["count"] for point in split["points"]} == counts
        assert split["total"] == 12
    for query in ({"customer": "billing"}, {"customer": "BILLING"}, {"tag": "eu"}):
        assert (await series(console, **query))["total"] == 3
    assert (await series(console, until="2020-01-01T00:00:00Z"))["total"] == 0


async def keys_with_most_requests(console: Console, **query: str) -> list[tuple[str, int]]:
    reply = await console.get("/v1/usage/keys", params=query)
    assert reply.status_code == 200, reply.text
    return [(item["key"], item["count"]) for item in reply.json()["keys"]]


async def test_keys_with_the_most_requests_are_listed(console: Console, used_key: str) -> None:
    keys = partial(keys_with_most_requests, console)
    assert await keys() == [(used_key, 7), ("another00000", 1)]
    assert await keys(limit="1") == [(used_key, 7)]
    assert await keys(until="2020-01-01T00:00:00Z") == []
    # A request without a key is not counted.
    rows = (UsageRow("", "", "NOT_FOUND", MINUTE, 50),)
    await UsageRepository(console.pool).add(UsageBatch("w", 2, NOW, rows))
    assert await keys() == [(used_key, 7), ("another00000", 1)]


@pytest.mark.parametrize(
    ("width", "query", "compared"),
    [
        ("hour", {}, (6, 4)),
        ("hour", {"code": "RATE_LIMITED"}, (4, 0)),
        ("hour", {"compare": "false"}, None),
        ("day", {}, None),  # no complete bucket
        ("minute", {}, None),  # deleted after two days
    ],
)
async def test_usage_is_compared_with_the_week_before(
    console: Console, width: str, query: dict[str, str], compared: tuple[int, int] | None
) -> None:
    console.sql("TRUNCATE usage_count, usage_batch")
    until, hour, week = MINUTE // 86_400 * 86_400 - 41_400, 3600, 7 * 86_400  # 12:30 of yesterday
    rows = [
        UsageRow("key", "docs", code, until - ago, count)
        for ago, code, count in (
            (60, "VALID", 1),
            (hour, "VALID", 2),
            (hour, "RATE_LIMITED", 4),
            (week, "VALID", 8),
            (week + hour, "VALID", 4),
            (week + 2 * hour, "VALID", 16),
        )
    ]
    await UsageRepository(console.pool).add(UsageBatch("w", 1, NOW, tuple(rows)))
    times = {"since": rfc3339(until - hour), "until": rfc3339(until)}
    found = await series(console, width=width, by="code", **{"compare": "true", **times, **query})
    before = found["week_before"]
    assert (before and (before["total"], before["total_before"])) == compared


async def test_keys_near_their_limits_are_listed(console: Console, used_key: str) -> None:
    async def limits(**query: str) -> list[tuple[str, str, int]]:
        reply = await console.get("/v1/usage/limits", params=query)
        assert reply.status_code == 200, reply.text
        return [(use["key"], use["kind"], use["used"]) for use in reply.json()["limits"]]

    near = await console.create_id(
        credits={"remaining": 1, "refill": {"amount": 9, "every": "day"}}
    )
    now = time.time()  # the windows end now
    rows = [UsageRow(key, "docs", "VALID", int(now // 60) * 60, 1) for key in (near, used_key)]
    await UsageRepository(console.pool).add(UsageBatch("w", 2, now, tuple(rows)))
    assert await limits() == [(near, "credits", 8)]
    assert await limits(percent="89") == []
    assert ("rate_limit", used_key) in [(kind, key) for key, kind, _ in await limits(percent="0")]
    assert [key for key, _, _ in await limits(percent="0", key=used_key)] == [used_key]


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({"since": "2030-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}, "query.since"),
        ({"since": "2030-01-01T00:00:00Z", "until": "2030-02-02T00:00:00Z"}, "query.since"),
        ({"limit": "101"}, "query.limit"),
    ],
)
async def test_invalid_list_of_keys_is_rejected(
    console: Console, query: dict[str, str], location: str
) -> None:
    reply = await console.get("/v1/usage/keys", params=query)
    assert (reply.status_code, [problem["location"] for problem in reply.json()["errors"]]) == (
        400,
        [location],
    )


CODES = ("FORBIDDEN", "RATE_LIMITED", "NO_CREDENTIAL")
REQUESTS = [
    RecordedRequest(
        NOW - number * 1800,
        key_id=KEYS[number % 3],
        core=("docs", "")[number % 2],
        code=CODES[number % 3] if number % 4 else "VALID",
        failed_check=[*CHECKS][number % 4] if number % 4 else "",
        method=("GET", "POST")[number % 2],
        path=("/cores/docs/a", "/cores/other/", "")[number % 3],
        status=(200, 403, 0)[number % 3],
        duration_us=number * 100,
        address=f"192.0.2.{number % 5}",
        request_id=f"req_{number:026}",
        count=1 + number % 7,
    )
    for number in range(120)
]
#: A filter, and whether a request matches it.
FILTERS: dict[str, tuple[str, Callable[[RecordedRequest], bool]]] = {
    "outcome": ("denied", lambda request: request.failed_check != ""),
    "key": (KEYS[1], lambda request: request.key_id == KEYS[1]),
    "core": ("docs", lambda request: request.core == "docs"),
    "check": ("credential", lambda request: request.failed_check == "credential"),
    "code": ("RATE_LIMITED", lambda request: request.code == "RATE_LIMITED"),
    "method": ("POST", lambda request: request.method == "POST"),
    "path_prefix": ("/cores/docs/", lambda request: request.path.startswith("/cores/docs/")),
    "status": ("403", lambda request: request.status == 403),
    "address": ("192.0.2.4", lambda request: request.address == "192.0.2.4"),
    "request_id": (f"req_{19:026}", lambda request: request.request_id == f"req_{19:026}"),
    "since": (rfc3339(NOW - 100_000), lambda request: request.began_at >= NOW - 100_000),
    "until": (rfc3339(NOW - 9_000), lambda request: request.began_at < NOW - 9_000),
}


def test_every_filter_is_tried() -> None:
    others = {"customer"}  # test_filter_by_customer_finds_requests_of_its_keys
    assert set(FilterRequests.__struct_fields__) == FILTERS.keys() | others


async def test_filter_by_customer_finds_requests_of_its_keys(console: Console) -> None:
    console.sql("TRUNCATE gateway_request, usage_batch")
    body = {"name": "n", "customer_id": "acme-requests", "create_customer": True}
    key = (await console.post("/v1/keys", json=body)).json()["key"]["id"]
    rows = [RecordedRequest(NOW, key_id=each, code="VALID") for each in (key, KEYS[1], "")]
    await UsageRepository(console.pool).add(UsageBatch("w", 1, NOW, (), tuple(rows)))
    reply = await console.get("/v1/requests", params={"customer": "acme-requests"})
    assert [(each["key"], each["customer"]) for each in reply.json()["requests"]] == [
        (key, "acme-requests")
    ]


async def test_totals_equal_the_listed_requests(console: Console) -> None:
    console.sql("TRUNCATE gateway_request, usage_batch")
    add_keys(console, *KEYS[1:])
    repository = UsageRepository(console.pool)
    await repository.add(UsageBatch("w", 1, NOW, (), tuple(REQUESTS)))
    for names in (*combinations(FILTERS, 0), *combinations(FILTERS, 1), *combinations(FILTERS, 2)):
        query = {name: FILTERS[name][0] for name in names}
        expected = [each for each in REQUESTS if all(FILTERS[name][1](each) for name in names)]
        listed, cursor, limit = list[Any](), dict[str, str](), str(len(expected) // 2 + 1)
        while True:
            order = {"order": "oldest"} if "until" in names else {}
            parameters = {**query, **cursor, **order, "limit": limit}
            page = await console.get("/v1/requests", params=parameters)
            assert page.status_code == 200, page.text
            listed += page.json()["requests"]
            if (next_cursor := page.json()["next_cursor"]) is None:
                break
            cursor = {"cursor": next_cursor}
        assert [each["request_id"] for each in listed] == [
            each.request_id for each in (reversed(expected) if order else expected)
        ]
        reply = await console.get("/v1/requests", params={**query, "totals": "true", "limit": "1"})
        totals = reply.json()["totals"]
        assert totals["total"] == sum(each["count"] for each in listed)
        assert totals["denied"] == sum(each["count"] for each in listed if each["check"])
        for name in ("check", "key"):
            counts = Counter[str]()
            for each in listed:
                counts[each[name]] += each["count"]
            del counts[""]
            assert {each[name]: each["count"] for each in totals[f"{name}s"]} == counts


async def test_percentiles_are_those_of_all_requests_that_rows_represent(console: Console) -> None:
    console.sql("TRUNCATE gateway_request, usage_batch")
    times = [(1, 900), (20, 60), (50, 35), (400, 5)]
    rows = [
        RecordedRequest(
            NOW, code="VALID", duration_us=ms * 1000, core_us=ms * 1000 - 500, count=count
        )
        for ms, count in times
    ]
    rows += [
        RecordedRequest(
            NOW, code="NO_CREDENTIAL", failed_check="credential", duration_us=9, count=9**9
        ),
        RecordedRequest(NOW, code="VALID", count=9**9),  # of which no duration is known
    ]
    await UsageRepository(console.pool).add(UsageBatch("w", 1, NOW, (), tuple(rows)))
    totals = (await console.get("/v1/requests", params={"totals": "true"})).json()["totals"]
    assert totals["ms"] == {"p50": 1.0, "p95": 20.0, "p99": 50.0}
    assert totals["core_ms"] == {"p50": 0.5, "p95": 19.5, "p99": 49.5}
    assert totals["gateway_ms"] == {"p50": 0.5, "p95": 0.5, "p99": 0.5}
    query = {"totals": "true", "outcome": "denied"}
    totals = (await console.get("/v1/requests", params=query)).json()["totals"]
    assert [totals[name] for name in ("ms", "core_ms", "gateway_ms")] == [None] * 3


@pytest.mark.bound("usage.repository:POINTS_MAX")
async def test_number_of_points_is_bounded(console: Console, used_key: str) -> None:
    def add(first: int, last: int) -> None:
        console.sql(
            "INSERT INTO usage_count SELECT 86400, 'key' || number, date_trunc('day', now()), "  # noqa: S608
            f"'', 'VALID', 1 FROM generate_series({first}, {last}) AS number"
        )

    add(4, POINTS_MAX)  # in addition to the three points of the fixture
    assert len((await series(console, width="day", by="key,code"))["points"]) == POINTS_MAX
    add(POINTS_MAX + 1, POINTS_MAX + 5)
    columns = frozenset({"key_id", "code"})
    points = await UsageRepository(console.pool).series(
        width_s=86_400, since=0, until=NOW + 86_400, by=columns
    )
    assert len(points) == POINTS_MAX + 1
    reply = await console.get("/v1/usage", params={"width": "day", "by": "key,code"})
    fix = "send a shorter time range or fewer dimensions, or filter by key"
    assert_problem(reply, 400, "query", f"selects more than {POINTS_MAX} points", fix)


@pytest.mark.parametrize(
    ("query", "location", "message"),
    [
        ({"width": "week"}, "query.width", "must be one of "),
        ({"by": "state"}, "query.by", "must be "),
        ({"since": "2031-01-01T00:00:00Z"}, "query.since", "is not before `until`"),
        (
            {"width": "minute", "since": "2020-01-01T00:00:00Z"},
            "query.since",
            "covers more than 1500 buckets",
        ),
        ({"key": "no such key"}, "query.key", "is not the ID, the name or the tag of a key"),
    ],
)
async def test_invalid_usage_query_has_a_fix(
    console: Console, query: dict[str, str], location: str, message: str
) -> None:
    reply = await console.get("/v1/usage", params=query)
    error = reply.json()["errors"][0]
    assert (reply.status_code, error["location"]) == (400, location)
    assert error["message"].startswith(message)
