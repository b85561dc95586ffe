"""The fake gateway, and the cache of decisions."""

import asyncio
from typing import Any

import pytest
from gatehouse_client import GatewayClient, NotFound, Verification
from gatehouse_client.testing import AsyncFakeGateway, FakeGateway, FakeKey

from tests.runtime.services.gateway.conftest import Gateway
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits

SIGNED: Any = {"method": "GET", "url": "http://a", "headers": []}


async def test_fake_gateway_decides_as_a_running_one(gateway: Gateway) -> None:
    limits: dict[str, Any] = {"scopes": ["orders:read"], "cores": ["docs"], "methods": ["GET"]}
    key = await key_with_credits(gateway, 5, customer_id="shop", **limits)
    keys = {key.token: FakeKey(customer_id="shop", credits=5, **limits)}
    fake = FakeGateway(keys)
    requests: list[tuple[str, dict[str, Any]]] = [
        (key.token, {"scopes": ["orders:read"], "core": "docs", "method": "GET", "cost": 2}),
        (key.token, {"scopes": ["orders:write"], "core": "docs", "method": "POST"}),
        (key.token, {"scopes": ["orders:write"], "core": "other"}),
        (key.token, {"scopes": ["orders:read", "orders:write"]}),
        (key.token, {"cost": 0}),
        (key.token, {"cost": 4}),
        (key.token, {"cost": 3}),
        (key.token, {}),
        ("unknown", {}),
    ]
    names = ("valid", "code", "status", "customer_id", "scopes", "environment")
    with GatewayClient(f"http://127.0.0.1:{gateway.port}") as running:
        for token, request in requests:
            actual = fake.verify(token, **request)
            expected = await asyncio.to_thread(running.verify, token, **request)
            for name in names:
                assert getattr(actual, name) == getattr(expected, name), (name, request)
            balances = [item.credits and item.credits.remaining for item in (actual, expected)]
            assert balances[0] == balances[1], request
            assert ("WWW-Authenticate" in actual.headers) == (actual.status == 401)
    assert [request["token"] for request in fake.requests] == [token for token, _ in requests]


async def test_fake_gateway_can_be_down_and_deny() -> None:
    gateway = AsyncFakeGateway({"a": FakeKey(), "limited": FakeKey(code="RATE_LIMITED")})
    assert (await gateway.verify("limited")).headers == {"Retry-After": "1"}
    gateway.is_down = True
    assert (await gateway.verify("a")).status == 503
    gateway.is_down = False
    assert (await gateway.verify("a")).valid


def test_subjects_use_up_limits_of_the_fake_gateway() -> None:
    gateway = FakeGateway({}, {"sign-in": 2})
    assert gateway.take("sign-in", "a", cost=2, dry_run=True).allowed
    assert [gateway.take("sign-in", "a").allowed for _ in range(3)] == [True, True, False]
    assert gateway.take("sign-in", "b").allowed
    with pytest.raises(NotFound):
        gateway.take("missing", "a")


def cached(key: FakeKey, *requests: dict[str, Any], cache_s: float = 60) -> tuple[Any, int]:
    """The last result, and the number of verifications that reached the gateway."""
    gateway = FakeGateway({"a": key, "b": key}, cache_s=cache_s)
    results: list[Verification] = []
    for request in requests:
        results.append(gateway.verify(**{"token": "a", **request}))
    return results[-1], len(gateway.requests)


def test_allowed_decisions_are_cached_for_each_request() -> None:
    key = FakeKey(scopes=["x", "y"])
    result, count = cached(key, {"scopes": ["x", "y"]}, {"scopes": ["y", "x"]})
    assert (count, result.valid, result.headers, result.limits) == (1, True, {}, [])
    requests: list[dict[str, Any]] = [
        *({}, {"scopes": ["x"]}, {"core": "docs"}, {"cost": 2}, {"token": "b"}),
        *({"address": "::1"}, {"method": "GET"}),
    ]
    assert cached(key, *requests, *requests)[1] == len(requests)
    assert cached(key, {}, {}, cache_s=0)[1] == 2


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        (FakeKey(code="RATE_LIMITED"), {}),
        (FakeKey(code="UNAVAILABLE"), {}),
        (FakeKey(credits=9), {}),
        (FakeKey(), {"request": SIGNED}),
    ],
)
def test_decision_that_counts_is_not_cached(key: FakeKey, request_: dict[str, Any]) -> None:
    assert cached(key, request_, request_)[1] == 2


def test_missing_decision_is_not_cached_if_the_client_fails_open() -> None:
    gateway = FakeGateway({"a": FakeKey()}, cache_s=60, fail_open=True)
    gateway.is_down = True
    assert gateway.verify("a").code == "UNAVAILABLE"
    gateway.is_down = False
    assert gateway.verify("a").code == "VALID"


@pytest.mark.parametrize("cache_s", [-1, 61, float("nan")])
def test_lifetime_of_cached_decisions_has_a_bound(cache_s: float) -> None:
    with pytest.raises(ValueError, match="cache_s"):
        FakeGateway({}, cache_s=cache_s)
