"""Verifications with a gateway that is slow, overloaded, down, or no gateway."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gatehouse_client import ApiError, AsyncGatewayClient, BadRequest, GatewayClient, Verification
from gatehouse_client.middleware import denial

from tests.clients.gateways import ERROR, EXPECTED, STATES, UNAVAILABLE, Gateway, serving

CLIENTS = [GatewayClient, AsyncGatewayClient]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with serving(Gateway(tmp_path_factory.mktemp("tls"), STATES)) as urls:
        yield urls


def verify(kind: Any, url: str, token: str, **options: Any) -> Verification:
    async def verified() -> Verification:
        async with AsyncGatewayClient(url, **options) as client:
            return await client.verify(token)

    if kind is AsyncGatewayClient:
        return asyncio.run(verified())
    with GatewayClient(url, **options) as client:
        return client.verify(token)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("state", EXPECTED)
def test_fail_mode_decides_if_the_gateway_does_not(
    urls: dict[str, str], state: str, kind: Any
) -> None:
    code, retry_after = EXPECTED[state]
    slow = state == "silent" or "byte by byte" in state
    for fail_open in (False, True):
        options = {"timeout_s": 0.3 if slow else 30, "fail_open": fail_open}
        if code == ERROR:
            with pytest.raises(ApiError) as raised:
                verify(kind, urls[state], "a", **options)
            response = denial(raised.value)
            assert (response.status, response.headers) == (503, {"Retry-After": retry_after})
            continue
        result = verify(kind, urls[state], "a", **options)
        assert result.code == code
        if code != UNAVAILABLE:
            assert (result.valid, result.error) == (code == "VALID", "")
            continue
        assert (result.valid, bool(result.error)) == (fail_open, True)
        assert result.headers == ({} if fail_open else {"Retry-After": retry_after})


@pytest.mark.parametrize("kind", CLIENTS)
def test_request_that_cannot_be_sent_is_an_error(urls: dict[str, str], kind: Any) -> None:
    with pytest.raises(BadRequest):
        verify(kind, urls["valid"], "\udc80", fail_open=True)
    for limits in ({"timeout_s": 0}, {"response_timeout_s": -1}, {"in_progress_max": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            kind(urls["valid"], fail_open=True, **limits)


@pytest.mark.parametrize("kind", CLIENTS)
def test_burst_waits_for_its_turn(tmp_path: Path, kind: Any) -> None:
    gateway = Gateway(tmp_path, {"valid": STATES["valid"]}, delay_s=0.02)
    limits: dict[str, Any] = {"in_progress_max": 8, "response_timeout_s": 20}
    with serving(gateway) as urls:
        count = 500 if kind is AsyncGatewayClient else 100
        results = all_at_once(kind, urls["valid"], count, **limits)
    assert [result.code for result in results] == ["VALID"] * count
    assert gateway.most <= 8
    # A connection that was idle for long is replaced.
    assert 1 <= gateway.connections <= 2 * 8


@pytest.mark.parametrize(
    "limits",
    [{"timeout_s": 1, "response_timeout_s": 60}, {"timeout_s": 1000, "response_timeout_s": 1}],
    ids=lambda limits: " ".join(name for name, value in limits.items() if value == 1),
)
@pytest.mark.parametrize("kind", CLIENTS)
def test_wait_for_a_turn_is_part_of_the_time_limit(
    tmp_path: Path, kind: Any, limits: dict[str, Any]
) -> None:
    """One after the other, the requests to a silent gateway would end after PATIENCE_S."""
    count = 2 * PATIENCE_S
    with serving(Gateway(tmp_path, {"silent": STATES["silent"]})) as urls:
        results = all_at_once(kind, urls["silent"], count, in_progress_max=1, **limits)
    assert [result.code for result in results] == [UNAVAILABLE] * count


def all_at_once(kind: Any, url: str, count: int, **options: Any) -> list[Verification]:
    """The results of concurrent calls of one client, within PATIENCE_S."""

    async def burst() -> list[Verification]:
        async with AsyncGatewayClient(url, **options) as client, asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(client.verify("a") for _ in range(count)))

    if kind is AsyncGatewayClient:
        return asyncio.run(burst())
    with GatewayClient(url, **options) as client, ThreadPoolExecutor(count) as pool:
        return list(pool.map(client.verify, ["a"] * count, timeout=PATIENCE_S))
