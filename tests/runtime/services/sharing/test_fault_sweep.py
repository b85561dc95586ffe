"""Every AWS call of a use case fails once, before or after it took effect; the client repeats its
request. A use never has two readers, no reported revocation is lost, and the repetition succeeds.
"""

import json
from functools import partial

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.models import SecretState
from gatehouse.features.secrets.service import NewItem

from tests.runtime.features.secrets.faults import CALLS_MAX, faults
from tests.runtime.features.secrets.services import ACTOR, TEXT, Sharing
from tests.runtime.features.secrets.test_worker import Work, work
from tests.runtime.services.sharing.readers import CANARY, OPENING, in_container

__all__ = ["work"]
CLAIM = "a" * 32
NEW_TEXT = b"another content"


@pytest.mark.parametrize("before", [True, False])
async def test_failed_deletion_is_completed_by_the_next_run(work: Work, *, before: bool) -> None:
    occurred = 0
    for at in range(1, 2 * CALLS_MAX):
        secret, [token] = await work.sharing.create(items=[NewItem(TEXT), NewItem(b"file", "a")])
        await work.sharing.secrets.revoke(secret.id, ACTOR)
        with faults(work.sharing, at, before=before) as fault:
            try:
                for _ in range(2):  # the second run records the deletion
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
async def test_failed_replacement_and_revocation_are_completed_when_repeated(
    sharing: Sharing, *, before: bool
) -> None:
    async def replace() -> None:
        items = [NewItem(NEW_TEXT), NewItem(b"file", "a")]
        await sharing.secrets.replace_content(secret.id, items, None, ACTOR)

    async def revoke() -> None:
        await sharing.secrets.revoke(secret.id, ACTOR)

    for act in (replace, revoke):
        occurred = 0
        for at in range(1, CALLS_MAX):
            secret, [token] = await sharing.create(uses=2)
            await sharing.open(token, claim=CLAIM)
            with faults(sharing, at, before=before) as fault:
                try:
                    await act()
                except Unavailable:
                    assert fault.occurred
                    await act()
            if act is replace:
                opened = await sharing.open(token)
                assert (await sharing.text(opened), len(opened.items)) == (NEW_TEXT, 2)
            else:
                current = await sharing.secrets.get(secret.id)
                assert current.state == SecretState.ENDED
                assert [link.wrapped_keys for link in current.links.values()] == [{}]
                for claim in (CLAIM, "b" * 32):
                    with pytest.raises(LinkNotFound):
                        await sharing.open(token, claim=claim)
            if not fault.occurred:
                break
            occurred += 1
        assert 2 <= occurred < CALLS_MAX - 1, "the sweep covers every call"


@pytest.mark.parametrize(
    ("route", "before"), [*((route, True) for route in OPENING), ("/v1/links/open", False)]
)
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
