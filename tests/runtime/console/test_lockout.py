"""Guessing at credentials is stopped where it comes from, and is no way to keep somebody else out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import httpx
import pytest
from gatehouse.console import asgi as console
from gatehouse.crypto.token import build
from gatehouse.identity.lockout import FAILURES_MAX, PAIRS_MAX, WINDOW_S, Lockout
from gatehouse.keys.models import KeyEnvironment
from starlette.types import ASGIApp

from tests.runtime.clocks import ManualClock
from tests.runtime.console.conftest import BOOTSTRAP, Console

GUESS = "gtk_admin_wrong"


@dataclass
class Front:
    app: ASGIApp
    clock: ManualClock

    async def ask(self, token: str, address: str = "198.51.100.1") -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as client:
            return await client.get("/v1/keys", headers={"Authorization": f"Bearer {token}"})

    async def guess(self, times: int, token: str = GUESS) -> list[int]:
        return [(await self.ask(token)).status_code for _ in range(times)]


@pytest.fixture
async def front(door: Console) -> Front:
    clock = ManualClock()
    return Front(console.create(replace(door.parts, clock=clock)), clock)


async def test_guesses_from_one_address_are_stopped_and_told_how_long(front: Front) -> None:
    assert await front.guess(FAILURES_MAX) == [401] * FAILURES_MAX
    refused = await front.ask(GUESS)
    assert (refused.status_code, refused.headers["retry-after"], refused.json()["code"]) == (429, str(WINDOW_S), "rate_limited")
    assert (await front.ask(BOOTSTRAP)).status_code == 429
    front.clock.advance(WINDOW_S)
    assert (await front.ask(BOOTSTRAP)).status_code == 200


async def test_nobody_is_locked_out_from_another_address(front: Front) -> None:
    await front.guess(FAILURES_MAX + 5)
    assert (await front.ask(BOOTSTRAP, address="192.0.2.9")).status_code == 200


async def test_another_credential_at_the_same_address_goes_on(front: Front, door: Console) -> None:
    token = (await door.create(scopes=["admin"]))["token"]
    await front.guess(FAILURES_MAX + 5)
    assert (await front.ask(token)).status_code == 200


async def test_guesses_at_one_key_stop_that_key_at_that_address_alone(front: Front, door: Console) -> None:
    made = await door.create(scopes=["admin"])
    forged = build("gtk", KeyEnvironment.TEST, bytes(12), bytes(32)).text
    await front.guess(FAILURES_MAX, forged)
    assert (await front.ask(forged)).status_code == 429
    assert (await front.ask(made["token"])).status_code == 200
    assert (await front.ask(BOOTSTRAP)).status_code == 200


async def test_rubbish_locks_nobody_out(front: Front) -> None:
    assert set(await front.guess(FAILURES_MAX + 1, "rubbish")) == {401, 429}
    assert (await front.ask(BOOTSTRAP)).status_code == 200


async def test_a_right_credential_forgets_the_slips_before_it(front: Front) -> None:
    for _ in range(3):
        await front.guess(FAILURES_MAX - 1)
        assert (await front.ask(BOOTSTRAP)).status_code == 200


def test_what_is_remembered_is_bounded() -> None:
    lockout = Lockout(ManualClock())
    for _ in range(FAILURES_MAX):
        lockout.failed("192.0.2.1", "first")
    assert lockout.wait_s("192.0.2.1", "first") == WINDOW_S
    for number in range(PAIRS_MAX):
        lockout.failed("192.0.2.1", str(number))
    assert lockout.wait_s("192.0.2.1", "first") == 0
    assert lockout.wait_s("2001:db8::1", "first") == 0
