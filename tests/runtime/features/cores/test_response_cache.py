"""Response cache."""

from contextlib import ExitStack

import pytest
from gatehouse.features.cores.response_cache import (
    BODY_BYTES_MAX,
    LIST_CHARACTERS_MAX,
    CachedResponse,
    ResponseCache,
    updated_headers,
)
from gatehouse.platform.http_client.connections import RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX
from hypothesis import given
from hypothesis import strategies as st


def headers(length: int, etag: str = '"1"') -> list[tuple[str, str]]:
    return [
        ("etag", etag),
        ("cache-control", "public"),
        ("content-length", str(length)),
        ("content-type", "text/plain"),
        ("x-old", "1"),
    ]


@pytest.mark.bound("core_cache_max_bytes")
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9000)), max_size=60))
def test_cache_never_exceeds_its_bound(entries: list[tuple[int, int]]) -> None:
    cache = ResponseCache(40_000)
    for number, size in entries:
        key = ("lease", "http://docs", f"/{number}", "")
        if cache.storable(200, headers(size)):
            cache.store(key, headers(size), b"x" * size)
            assert cache.find(key) is not None
        assert cache.bytes <= 40_000
        assert len(cache) <= 40_000 // 2048
    for number in range(31):
        cache.drop(("lease", "http://docs", f"/{number}", ""))
    assert (cache.bytes, len(cache)) == (0, 0)


def test_key_of_a_response_counts_in_the_size_of_the_cache() -> None:
    cache = ResponseCache(400_000)
    for number in range(20):
        cache.store(
            ("lease", "http://docs", f"/{number}?" + "a" * 16_000, "a" * 60_000), headers(1), b"x"
        )
    assert (len(cache), cache.bytes <= 400_000) == (5, True)


def test_responses_that_are_received_have_the_size_of_the_cache_at_most() -> None:
    cache = ResponseCache(4000)
    with ExitStack() as stack:
        kept = [stack.enter_context(cache.receiving(1000)) for _ in range(10)]
        assert kept == [True] * 4 + [False] * 6
    with cache.receiving(4000) as is_kept:
        assert is_kept


@pytest.mark.bound("cores.response_cache:BODY_BYTES_MAX")
@pytest.mark.parametrize(("total", "body_max"), [(4000, 1000), (2**30, BODY_BYTES_MAX)])
def test_too_large_body_is_not_storable(total: int, body_max: int) -> None:
    cache = ResponseCache(total)
    assert cache.storable(200, headers(body_max))
    assert not cache.storable(200, headers(body_max + 1))
    assert not cache.storable(200, [("etag", '"1"')])
    assert not cache.storable(206, headers(10))


@pytest.mark.requirement("CG-10")
@pytest.mark.bound("cores.response_cache:LIST_CHARACTERS_MAX")
@pytest.mark.parametrize(
    ("more", "etag"),
    [
        ({"cache-control": "must-revalidate, max-age=60"}, '"1"'),
        ({"cache-control": "s-maxage=60, private =a"}, '"1"'),
        ({"cache-control": ""}, '"1"'),
        ({"cache-control": "no-cache"}, '"1"'),
        ({"cache-control": "no-store, public"}, '"1"'),
        ({"cache-control": "max-age=60, Private"}, '"1"'),
        ({}, 'W/"1"'),
        ({}, "1"),
        ({"vary": "*"}, '"1"'),
        ({"vary": "Gatehouse-Key-Id"}, '"1"'),
        ({"set-cookie": "a=1"}, '"1"'),
        ({"vary": "accept-encoding" + "," * LIST_CHARACTERS_MAX}, '"1"'),
        ({"cache-control": "public" + "," * LIST_CHARACTERS_MAX}, '"1"'),
    ],
)
def test_response_for_one_client_is_not_storable(more: dict[str, str], etag: str) -> None:
    response = {**dict(headers(10, etag)), **more}
    assert not ResponseCache(4000).storable(200, list(response.items()))


def test_304_updates_headers_except_those_of_the_body() -> None:
    cached = CachedResponse('"1"', headers(3), b"abc")
    not_modified = [
        ("etag", '"1"'),
        ("x-old", "2"),
        ("x-new", "3"),
        ("content-length", "0"),
        ("content-type", "x/y"),
    ]
    assert updated_headers(cached, not_modified) == [
        ("cache-control", "public"),
        ("content-length", "3"),
        ("content-type", "text/plain"),
        ("etag", '"1"'),
        ("x-old", "2"),
        ("x-new", "3"),
    ]
    assert updated_headers(cached, [("etag", '"2"')]) is None
    assert updated_headers(cached, []) == cached.headers


def test_headers_of_a_stored_response_are_bounded() -> None:
    cached = CachedResponse('"1"', headers(1), b"x")
    for fields in (
        [(f"x-{number}", "") for number in range(RESPONSE_HEADERS_MAX)],
        [(f"x-{number}", "x" * (RESPONSE_HEAD_BYTES_MAX // 10)) for number in range(10)],
    ):
        assert updated_headers(cached, fields) is None
        assert updated_headers(cached, fields[:9]) is not None
