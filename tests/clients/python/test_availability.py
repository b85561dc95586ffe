"""Verifications with a gateway that is slow, overloaded, down, or no gateway."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gatehouse_client import ApiError, AsyncGatewayClient, BadRequest, GatewayClient, Verification

from tests.clients.gateways import ERROR, EXPECTED, STATES, UNAVAILABLE, Gateway, serving

CLIENTS = [GatewayClient, AsyncGatewayClient]


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
            with pytest.raises(ApiError):
                verify(kind, urls[state], "a", **options)
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


@pytest.mark.parametrize("state", ["valid", "silent"])
@pytest.mark.parametrize("kind", CLIENTS)
def test_burst_waits_for_its_turn(tmp_path: Path, kind: Any, state: str) -> None:
    """All have a result; with a silent gateway, within the time limit of one response."""
    count = 500 if kind is AsyncGatewayClient else 100
    gateway = Gateway(tmp_path, {state: STATES[state]}, delay_s=0.02)
    limits: dict[str, Any] = {
        "in_progress_max": 8,
        "response_timeout_s": 1 if state == "silent" else 20,
    }

    async def burst(url: str) -> list[Verification]:
        async with AsyncGatewayClient(url, **limits) as client:
            return await asyncio.gather(*(client.verify("a") for _ in range(count)))

    with serving(gateway) as urls:
        if kind is AsyncGatewayClient:
            results = asyncio.run(burst(urls[state]))
        else:
            with GatewayClient(urls[state], **limits) as client, ThreadPoolExecutor(count) as pool:
                results = list(pool.map(client.verify, ["a"] * count))
    assert {result.code for result in results} == {"VALID" if state == "valid" else UNAVAILABLE}
    assert len(results) == count
    # Requests that have waited for less than the time limit are sent to a silent gateway, too.
    assert 1 <= gateway.connections <= (8 if state == "valid" else count // 2)


@pytest.mark.parametrize("kind", CLIENTS)
def test_wait_for_a_turn_is_part_of_the_time_limit(tmp_path: Path, kind: Any) -> None:
    """The others are not sent one after the other, each with a time limit of its own. One that
    began later can have a turn for its last moments.
    """
    count = 20
    gateway = Gateway(tmp_path, {"silent": STATES["silent"]})
    limits: dict[str, Any] = {"in_progress_max": 1, "timeout_s": 1, "response_timeout_s": 60}

    async def all_calls(url: str) -> list[Verification]:
        async with AsyncGatewayClient(url, **limits) as client:
            return list(await asyncio.gather(*(client.verify("a") for _ in range(count))))

    with serving(gateway) as urls:
        if kind is AsyncGatewayClient:
            results = asyncio.run(all_calls(urls["silent"]))
        else:
            with (
                GatewayClient(urls["silent"], **limits) as client,
                ThreadPoolExecutor(count) as pool,
            ):
                results = list(pool.map(client.verify, ["a"] * count))
    assert [result.code for result in results] == [UNAVAILABLE] * count
    assert 1 <= gateway.connections <= count // 2
