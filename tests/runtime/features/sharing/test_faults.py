"""AWS calls that fail before or after they take effect: never two readers or a partial secret, and
always Unavailable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.service import NewItem, NewSecret, one_by_one

from tests.runtime.features.sharing.services import ACTOR, CLIENT, TEXT, Sharing

pytestmark = pytest.mark.requirement("SS-03")
#: AWS calls of one use case are fewer than this.
CALLS_MAX = 12


class Faults:
    """Fails the call number `at`: `before` it is sent, or after AWS has executed it, in which case
    only the response is lost.
    """

    def __init__(self, at: int, *, before: bool) -> None:
        self._at = at
        self._before = before
        self._calls = 0
        self._failing = False
        self.occurred = False

    def on_send(self, **_: Any) -> None:
        self._calls += 1
        self._failing = self._calls == self._at
        if self._failing and self._before:
            self._fail()

    def on_response(self, **_: Any) -> None:
        if self._failing and not self._before:
            self._fail()

    def _fail(self) -> None:
        self._failing = False
        self.occurred = True
        raise EndpointConnectionError(endpoint_url="https://aws.test")


@contextmanager
def faults(sharing: Sharing, at: int, *, before: bool) -> Iterator[Faults]:
    """Installs the fault in all AWS clients of the services."""
    fault = Faults(at, before=before)
    backend = sharing.backend
    clients = [backend.table._client, backend.content._client, backend.data_keys._client]
    for client in clients:
        client.meta.events.register("before-call.*", fault.on_send)
        client.meta.events.register("after-call.*", fault.on_response)
    try:
        yield fault
    finally:
        for client in clients:
            client.meta.events.unregister("before-call.*", fault.on_send)
            client.meta.events.unregister("after-call.*", fault.on_response)


@pytest.mark.parametrize("before", [True, False])
async def test_failed_opening_takes_at_most_one_use_and_can_be_repeated(
    sharing: Sharing, *, before: bool
) -> None:
    occurred = 0
    for at in range(1, CALLS_MAX):
        secret, [token] = await sharing.create()
        with faults(sharing, at, before=before) as fault:
            try:
                content = await sharing.text(await sharing.open(token, claim="a" * 32))
            except Unavailable:
                content = None
        if fault.occurred:
            occurred += 1
            # The same client repeats its request with its claim.
            content = content or await sharing.text(await sharing.open(token, claim="a" * 32))
        assert content == TEXT
        with pytest.raises(LinkNotFound):
            await sharing.open(token)
        assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 1
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1


@pytest.mark.parametrize("before", [True, False])
async def test_failed_creation_leaves_a_whole_secret_or_none(
    sharing: Sharing, *, before: bool
) -> None:
    occurred = 0
    for at in range(1, CALLS_MAX):
        owner = ACTOR.__class__(type="key", id=f"creator-{before}-{at}")
        items = one_by_one([NewItem.of(TEXT), NewItem.of(b"file", "a")])
        new = NewSecret(items=items, sender="Ada", ttl_s=600, ttl_s_max=600, uses=1)
        with faults(sharing, at, before=before) as fault:
            try:
                _, [token] = await sharing.secrets.create(new, owner)
            except Unavailable:
                token = None
        occurred += fault.occurred
        stored, _ = await sharing.secrets.of_owner(owner.label, after="", size=10)
        if token is not None:
            assert await sharing.text(await sharing.open(token)) == TEXT
        for secret in stored:
            assert len(secret.current.items) == 2
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1


@pytest.mark.parametrize("before", [True, False])
async def test_failed_revocation_is_not_reported_as_done(sharing: Sharing, *, before: bool) -> None:
    for at in range(1, 3):
        secret, [token] = await sharing.create()
        with faults(sharing, at, before=before), pytest.raises(Unavailable):
            await sharing.secrets.revoke(secret.id, ACTOR)
        await sharing.secrets.revoke(secret.id, ACTOR)
        with pytest.raises(LinkNotFound):
            await sharing.links.open(token, "", "b" * 32, CLIENT)
