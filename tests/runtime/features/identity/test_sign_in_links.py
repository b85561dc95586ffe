"""One-time sign-in links."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from gatehouse.core.tokens.token_scanner import RANDOM_CHARS
from gatehouse.features.identity.schemas import CODE_FRAGMENT
from gatehouse.services.console.lockout import FAILURES_MAX
from pydantic import SecretStr

from tests.runtime.conftest import lock_waits
from tests.runtime.console_client import BOOTSTRAP, outcome
from tests.runtime.features.identity.test_sessions import Browser, Setup, browser, setup

__all__ = ["browser", "setup"]

LINK_S = 300


async def create_link(setup: Setup, token: str = BOOTSTRAP) -> str:
    reply = await setup.browser().client.post("/v1/sign-in-links", headers=setup.console.as_(token))
    assert reply.status_code == 201, reply.text
    return str(reply.json()["path"]).removeprefix(f"/{CODE_FRAGMENT}")


async def test_link_starts_one_session_of_its_creator(setup: Setup) -> None:
    operator = await setup.console.create(scopes=["role:operator"])
    code = await create_link(setup, operator["token"])
    started = setup.browser()
    session = (await started.sign_in(code)).json()
    assert (session["session"]["actor_id"], session["roles"]) == (
        operator["key"]["id"],
        ["operator"],
    )
    assert await started.status() == 200
    reply = await setup.browser().sign_in(code)
    assert outcome(reply) == (401, "unauthorized")


async def test_concurrent_sign_ins_start_one_session(setup: Setup) -> None:
    code = await create_link(setup)
    statuses = await asyncio.gather(*(setup.browser().sign_in(code) for _ in range(8)))
    assert sorted(reply.status_code for reply in statuses) == [201, *7 * [401]]


async def test_expired_and_replaced_links_are_rejected(setup: Setup) -> None:
    replaced = await create_link(setup)
    expired = await create_link(setup)
    assert (await setup.browser().sign_in(replaced)).status_code == 401
    setup.clock.advance(LINK_S + 1)
    assert (await setup.browser().sign_in(expired)).status_code == 401


async def test_code_is_accepted_for_a_sign_in_only(setup: Setup) -> None:
    code = await create_link(setup)
    for method, path in (
        ("GET", "/v1/keys"),
        ("POST", "/v1/sign-in-links"),
        ("DELETE", "/v1/sessions"),
    ):
        reply = await setup.browser().client.request(method, path, headers=setup.console.as_(code))
        assert reply.status_code == 401, path
    browser = setup.browser()
    for _ in range(FAILURES_MAX + 1):  # they lock out nobody in the same network
        assert (await browser.sign_in(code + "x")).status_code == 401
    assert (await browser.sign_in(code)).status_code == 201


async def test_link_ends_with_its_credential(setup: Setup) -> None:
    operator = await setup.console.create(scopes=["role:operator"])
    code = await create_link(setup, operator["token"])
    assert (await setup.console.post(f"/v1/keys/{operator['key']['id']}/revoke")).status_code == 200
    assert (await setup.browser().sign_in(code)).status_code == 401
    code = await create_link(setup)
    assert (
        await setup.browser(bootstrap_token=SecretStr(BOOTSTRAP + "0")).sign_in(code)
    ).status_code == 401


async def test_sign_out_everywhere_ends_the_link(setup: Setup, browser: Browser) -> None:
    headers = setup.console.as_(await create_link(setup))

    async def body() -> AsyncIterator[bytes]:
        assert await browser.status("DELETE", "/v1/sessions") == 200
        yield b""

    sign_in = partial(setup.browser().client.post, "/v1/sessions", headers=headers)
    assert (await sign_in(content=body())).status_code == 401
    assert (await sign_in()).status_code == 401


async def test_sign_out_everywhere_ends_a_session_that_is_starting(setup: Setup) -> None:
    code, started = await create_link(setup), setup.browser()
    async with setup.console.pool.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(7126502)")  # of audit events
        requests: list[asyncio.Task[Any]] = []
        for request in (started.sign_in(code), setup.console.delete("/v1/sessions")):
            requests.append(asyncio.create_task(request))
            while await lock_waits(setup.console.pool) < len(requests):
                await asyncio.sleep(0)
    assert [reply.status_code for reply in await asyncio.gather(*requests)] == [201, 200]
    assert await started.status() == 401


async def test_link_does_not_extend_the_step_up(setup: Setup) -> None:
    code = await create_link(setup)
    setup.clock.advance(LINK_S - 1)
    started = setup.browser()
    session = (await started.sign_in(code)).json()["session"]
    assert session["proven_at"] < session["created_at"]
    setup.clock.advance(setup.sessions.rules.step_up_max_age_s - LINK_S + 2)
    key_id = await setup.console.create_id()
    reply = await started.send("DELETE", f"/v1/keys/{key_id}")
    assert outcome(reply) == (401, "step_up_required")


async def test_code_is_neither_stored_nor_logged(setup: Setup) -> None:
    code = await create_link(setup)
    stored = setup.console.sql("SELECT string_agg(t::text, '') FROM sign_in_link t")
    await setup.browser().sign_in(code)
    await setup.browser().sign_in(code)
    stored += setup.console.sql("SELECT string_agg(t::text, '') FROM audit_event t")
    assert "session.link" in stored
    assert code[-RANDOM_CHARS:] not in stored + str(setup.console.log.entries)


async def test_expired_links_are_pruned(setup: Setup) -> None:
    await create_link(setup)
    setup.clock.advance(LINK_S + 1)
    await setup.sessions.prune()
    assert setup.console.sql("SELECT count(*) FROM sign_in_link") == "0"


async def test_links_require_the_feature_sessions(setup: Setup) -> None:
    client = setup.browser(features=(("sessions", False),)).client
    assert (
        await client.post("/v1/sign-in-links", headers=setup.console.as_(BOOTSTRAP))
    ).status_code == 404
