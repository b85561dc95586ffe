"""Every AWS call of a use case fails once, before or after AWS executed it; the client then repeats
its request.

A use never has two readers, a reported revocation is never lost, and the repetition always leads to
the intended state.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.link_token import LinkToken
from gatehouse.features.sharing.models import Secret, SecretState
from gatehouse.features.sharing.service import NewItem

from tests.runtime.features.sharing.faults import CALLS_MAX, faults
from tests.runtime.features.sharing.services import ACTOR, CLIENT, TEXT, Sharing
from tests.runtime.features.sharing.test_worker import Work, work
from tests.runtime.services.sharing.readers import (
    CANARY,
    OPENING,
    in_container,
)

__all__ = ["work"]
pytestmark = pytest.mark.requirement("SS-03")
CLAIM = "a" * 32
NEW_TEXT = b"another content"


@dataclass(frozen=True)
class Target:
    """A secret with one link, which can be opened twice, and the use of a first client."""

    sharing: Sharing
    secret: Secret
    token: LinkToken

    async def current(self) -> Secret:
        return await self.sharing.secrets.get(self.secret.id)

    async def text(self) -> bytes:
        return await self.sharing.text(await self.sharing.open(self.token))


Step = Callable[[Target], Awaitable[object]]


async def _replace(target: Target) -> None:
    items = [NewItem(NEW_TEXT), NewItem(b"file", "a")]
    await target.sharing.secrets.replace_content(target.secret.id, items, None, ACTOR)


async def _replaced(target: Target) -> None:
    assert await target.text() == NEW_TEXT
    assert len((await target.current()).current.items) == 2


async def _acknowledge(target: Target) -> None:
    await target.sharing.links.acknowledge(target.token, CLAIM, CLIENT)


async def _acknowledged(target: Target) -> None:
    link = (await target.current()).links[target.token.link_id]
    assert (link.claims[CLAIM].acknowledged_at, link.uses) == (target.sharing.clock.now(), 1)
    with pytest.raises(LinkNotFound):
        await target.sharing.open(target.token, claim=CLAIM)
    assert await target.text() == TEXT


async def _revoke(target: Target) -> None:
    await target.sharing.secrets.revoke(target.secret.id, ACTOR)


async def _revoked(target: Target) -> None:
    current = await target.current()
    assert current.state == SecretState.ENDED
    assert [link.wrapped_keys for link in current.links.values()] == [{}]
    with pytest.raises(LinkNotFound):
        await target.sharing.open(target.token, claim=CLAIM)
    with pytest.raises(LinkNotFound):
        await target.text()


#: Use cases of owners and recipients: the request, and a check of the intended state.
CASES: dict[str, tuple[Step, Step]] = {
    "replace": (_replace, _replaced),
    "acknowledge": (_acknowledge, _acknowledged),
    "revoke": (_revoke, _revoked),
}


async def _target(sharing: Sharing) -> Target:
    secret, [token] = await sharing.create(uses=2)
    await sharing.open(token, claim=CLAIM)
    return Target(sharing, secret, token)


@pytest.mark.requirement("SS-02")
@pytest.mark.parametrize("before", [True, False])
async def test_failed_deletion_is_completed_by_the_next_run(work: Work, *, before: bool) -> None:
    occurred = 0
    for at in range(1, 2 * CALLS_MAX):
        secret, [token] = await work.sharing.create(items=[NewItem(TEXT), NewItem(b"file", "a")])
        await work.sharing.secrets.revoke(secret.id, ACTOR)
        with faults(work.sharing, at, before=before) as fault:
            try:
                for _ in range(3):
                    await work.worker().run_once()
            except Unavailable:
                with pytest.raises(LinkNotFound):
                    await work.sharing.links.find(token.path)
        occurred += fault.occurred
        work.sharing.clock.advance(600)  # later than the next attempt
        await work.run()
        assert work.objects(secret.id) == []
        assert (await work.sharing.secrets.get(secret.id)).state == SecretState.PURGED
        assert await work.actions(secret.id) == ["secret.create", "secret.revoke", "secret.purge"]
        receipt = (await work.sharing.secrets.get(secret.id)).receipt or {}
        deleted = {
            (item["key"], item["version_id"])
            for item in json.loads(receipt["statement"])["objects"]
        }
        assert deleted == {(item.key, item.object_version) for item in secret.current.items}
        if not fault.occurred:
            break
    assert 6 <= occurred < 2 * CALLS_MAX - 1, "the sweep covers every call"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("case", CASES)
async def test_failed_request_ends_in_the_intended_state_when_repeated(
    sharing: Sharing, case: str, *, before: bool
) -> None:
    act, check = CASES[case]
    occurred = 0
    for at in range(1, CALLS_MAX):
        target = await _target(sharing)
        failed = False
        with faults(sharing, at, before=before) as fault:
            try:
                await act(target)
            except Unavailable:
                failed = True
        occurred += fault.occurred
        assert fault.occurred or not failed
        if failed:
            await act(target)
        await check(target)
        if not fault.occurred:
            break
    assert 2 <= occurred < CALLS_MAX - 1, "the sweep covers every call"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("route", ["/v1/links/open", "/s/{link}/items/{item:int}"])
async def test_failed_opening_is_one_problem_and_never_a_second_reader(
    sharing: Sharing, route: str, *, before: bool
) -> None:
    send, occurred = partial(in_container, sharing.app()), 0
    for at in range(1, CALLS_MAX):
        secret, [token] = await sharing.create(CANARY.encode())
        message, other = OPENING[route](token, CLAIM), OPENING[route](token, "b" * 32)
        with faults(sharing, at, before=before) as fault:
            reply = await send(message)
        occurred += fault.occurred
        if reply.status_code != 200:
            assert (reply.status_code, CANARY in reply.text, "retry-after" in reply.headers) == (
                503,
                False,
                True,
            )
            if route.startswith("/v1/"):
                assert reply.headers["content-type"] == "application/problem+json"
                assert json.loads(reply.content)["code"] == "unavailable"
        else:
            assert CANARY in reply.text
        # The same client repeats its request; another client is denied.
        assert CANARY in (await send(message)).text
        assert (await send(other)).status_code == 404
        stored = (await sharing.secrets.get(secret.id)).links[token.link_id]
        assert (stored.uses, len(stored.claims)) == (1, 1)
        await sharing.secrets.revoke(secret.id, ACTOR)
        assert (await send(message)).status_code == 404
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1, "the sweep covers every call"


@pytest.mark.parametrize("before", [True, False])
async def test_failed_opening_is_not_repeated_after_the_expiry(
    sharing: Sharing, *, before: bool
) -> None:
    for at in range(1, CALLS_MAX):
        _, [token] = await sharing.create(ttl_s=300.0)
        with faults(sharing, at, before=before) as fault:
            try:
                await sharing.text(await sharing.open(token, claim=CLAIM))
            except Unavailable:
                sharing.clock.advance(300)
        if not fault.occurred:
            return
        with pytest.raises(LinkNotFound):
            await sharing.open(token, claim=CLAIM)
    raise AssertionError("the sweep covers every call")
