"""Lockout after failed authentication, per client address and credential."""

from dataclasses import dataclass

import httpx
import pytest
from gatehouse.services.console.lockout import FAILURES_MAX, PAIRS_MAX, WINDOW_S, Lockout
from starlette.types import ASGIApp

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.tokens import unknown_token

GUESS = "gtk_admin_wrong"


@dataclass
class Setup:
    app: ASGIApp
    clock: ManualClock

    async def get(self, token: str, address: str = "198.51.100.1") -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="https://console.test"
        ) as client:
            return await client.get("/v1/keys", headers={"Authorization": f"Bearer {token}"})

    async def guess(self, times: int, token: str = GUESS) -> list[int]:
        return [(await self.get(token)).status_code for _ in range(times)]


@pytest.fixture
async def setup(console: Console) -> Setup:
    clock = ManualClock()
    return Setup(console.application(clock=clock), clock)


async def test_guesses_are_limited_with_retry_after(setup: Setup) -> None:
    assert await setup.guess(FAILURES_MAX) == [401] * FAILURES_MAX
    denied = await setup.get(GUESS)
    assert (denied.status_code, denied.headers["retry-after"], denied.json()["code"]) == (
        429,
        str(WINDOW_S),
        "rate_limited",
    )
    assert (await setup.get(BOOTSTRAP)).status_code == 429
    setup.clock.correct(-3600)
    setup.clock.advance(WINDOW_S)
    assert (await setup.get(BOOTSTRAP)).status_code == 200


async def test_lockout_is_limited_to_one_address_and_credential(
    setup: Setup, console: Console
) -> None:
    token = (await console.create(scopes=["admin"]))["token"]
    forged = unknown_token().text
    await setup.guess(FAILURES_MAX, forged)
    assert (await setup.get(forged)).status_code == 429
    assert (await setup.get(BOOTSTRAP)).status_code == 200
    await setup.guess(FAILURES_MAX + 5)
    assert (await setup.get(token)).status_code == 200
    assert (await setup.get(BOOTSTRAP, address="192.0.2.9")).status_code == 200


@pytest.mark.parametrize("guess", ["rubbish", "rubbish.with.dots"])
async def test_malformed_credentials_cause_no_lockout(setup: Setup, guess: str) -> None:
    assert set(await setup.guess(FAILURES_MAX + 1, guess)) == {401, 429}
    assert (await setup.get(BOOTSTRAP)).status_code == 200


async def test_valid_credential_resets_the_failure_count(setup: Setup) -> None:
    for _ in range(3):
        await setup.guess(FAILURES_MAX - 1)
        assert (await setup.get(BOOTSTRAP)).status_code == 200


async def test_guesses_lock_out_no_accepted_token(setup: Setup, console: Console) -> None:
    tokens = [f"imported-token-{number}" for number in range(2)]
    for token in tokens:
        await console.import_key(token)
    for _ in range(FAILURES_MAX):
        assert (await setup.get(tokens[0])).status_code == 403
        await setup.guess(1, "imported-token-9")
    assert [(await setup.get(token)).status_code for token in tokens] == [403, 429]
    await setup.guess(FAILURES_MAX)
    assert (await setup.get(BOOTSTRAP)).status_code == 429


def test_number_of_remembered_failures_is_bounded() -> None:
    lockout = Lockout(ManualClock())
    lockout.succeeded("192.0.2.1", "first", "token")
    for _ in range(FAILURES_MAX):
        lockout.failed("192.0.2.1", "first", "guess")
    assert [lockout.wait_s("192.0.2.1", "first", each) for each in ("guess", "token")] == [300, 0]
    for number in range(PAIRS_MAX):
        lockout.succeeded("192.0.2.1", str(number), str(number))
    assert lockout.wait_s("192.0.2.1", "first", "token") == WINDOW_S
    for number in range(PAIRS_MAX):
        lockout.failed("192.0.2.1", str(number), "guess")
    assert lockout.wait_s("192.0.2.1", "first", "guess") == 0
    assert lockout.wait_s("2001:db8::1", "first", "guess") == 0
