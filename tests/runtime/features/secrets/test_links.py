"""Exactly N uses; no plaintext afterwards."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from gatehouse.core.actor import RequestId
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import BadRequest, Conflict, PreconditionFailed
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.links import NotConfirmed
from gatehouse.features.secrets.models import Client
from gatehouse.features.secrets.passphrases import (
    LINK_ATTEMPTS_MAX,
    NETWORK_ATTEMPTS_MAX,
    TooManyAttempts,
    WrongPassphrase,
)
from gatehouse.features.secrets.schemas import FILES_MAX, OpenedSecret, UpdateSecret
from gatehouse.features.secrets.service import NewItem

from tests.runtime.features.secrets.services import ACTOR, CLIENT, TEXT, Sharing

PASSPHRASE = "a long passphrase"


async def test_nothing_is_opened_after_the_revocation_returned(sharing: Sharing) -> None:
    for _ in range(2):
        secret, [token] = await sharing.create(uses=100)
        revoked = asyncio.Event()
        late: list[bool] = []

        async def read(
            token: Any = token, revoked: asyncio.Event = revoked, late: list[bool] = late
        ) -> None:
            for _ in range(4):
                began_late = revoked.is_set()
                try:
                    await sharing.open(token)
                except LinkNotFound:
                    return
                late.append(began_late)

        async def revoke(secret_id: str = secret.id, revoked: asyncio.Event = revoked) -> None:
            await sharing.secrets.revoke(secret_id, ACTOR)
            revoked.set()

        await asyncio.gather(*(read() for _ in range(4)), revoke())
        assert not any(late)
        with pytest.raises(LinkNotFound):
            await sharing.open(token)


async def test_changes_during_openings_neither_add_uses_nor_mix_versions(sharing: Sharing) -> None:
    secret, [token] = await sharing.create(uses=6)
    texts: list[bytes] = []

    async def read() -> None:
        with suppress(LinkNotFound):
            texts.append(await sharing.read(token))

    changes = await asyncio.gather(
        *(read() for _ in range(4)),
        sharing.secrets.update(secret.id, UpdateSecret(uses=3), None, ACTOR),
        sharing.secrets.replace_content(secret.id, [NewItem(b"new")], None, ACTOR),
        *(read() for _ in range(4)),
        return_exceptions=True,
    )
    failed = [change for change in changes if isinstance(change, Exception)]
    # A change is denied if another change or a use was written first.
    assert {type(error) for error in failed} <= {BadRequest, PreconditionFailed}
    stored = await sharing.secrets.get(secret.id)
    link = stored.links[token.link_id]
    assert link.uses_max in (6, 3)
    assert len(texts) == link.uses == len(link.claims) == link.uses_max
    assert set(texts) <= {TEXT, b"new"}
    assert stored.revision == 3 - len(failed)


async def test_same_claim_of_many_requests_takes_one_use(sharing: Sharing) -> None:
    secret, [token] = await sharing.create(uses=5)
    opened = await asyncio.gather(*(sharing.open(token, claim="c" * 32) for _ in range(10)))
    assert {await sharing.text(result) for result in opened} == {TEXT}
    assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 1


@pytest.mark.bound("secrets.links:NETWORK_ATTEMPTS_MAX")
async def test_wrong_passphrases_of_a_network_lock_that_network_only(sharing: Sharing) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    guesses = [
        sharing.open(token, passphrase=f"guess {number}")
        for number in range(NETWORK_ATTEMPTS_MAX + 5)
    ]
    outcomes = [type(outcome) for outcome in await asyncio.gather(*guesses, return_exceptions=True)]
    assert (outcomes.count(WrongPassphrase), outcomes.count(TooManyAttempts)) == (
        NETWORK_ATTEMPTS_MAX,
        5,
    )
    neighbor, other = (
        Client(address, RequestId("req_2")) for address in ("198.51.100.200", "192.0.2.1")
    )
    with pytest.raises(TooManyAttempts):
        await sharing.open(token, passphrase=PASSPHRASE, client=neighbor)
    assert await sharing.read(token, passphrase=PASSPHRASE, client=other) == TEXT


@pytest.mark.bound("secrets.links:LINK_ATTEMPTS_MAX")
async def test_wrong_passphrases_of_many_networks_lock_the_link_for_a_time(
    sharing: Sharing,
) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE, ttl_s=7200.0)
    for number in range(LINK_ATTEMPTS_MAX):
        with pytest.raises(WrongPassphrase):
            await sharing.open(
                token,
                passphrase="guess",
                client=Client(f"2001:db8:{number:x}::1", RequestId("req_2")),
            )
    client = Client("192.0.2.1", RequestId("req_3"))
    with pytest.raises(TooManyAttempts):
        await sharing.open(token, passphrase=PASSPHRASE, client=client)
    sharing.clock.advance(600)
    assert await sharing.read(token, passphrase=PASSPHRASE, client=client) == TEXT


async def test_owner_changes_uses_and_expiry_within_bounds(sharing: Sharing) -> None:
    secret, [token] = await sharing.create(uses=1)
    await sharing.open(token)
    await sharing.secrets.update(secret.id, UpdateSecret(uses=1), None, ACTOR)
    changed = await sharing.secrets.update(secret.id, UpdateSecret(uses=2, label="db"), 2, ACTOR)
    assert (changed.label, changed.revision) == ("db", 3)
    assert await sharing.read(token) == TEXT
    with pytest.raises(BadRequest):
        await sharing.secrets.update(secret.id, UpdateSecret(uses=1), None, ACTOR)
    with pytest.raises(PreconditionFailed):
        await sharing.secrets.update(secret.id, UpdateSecret(label="x"), 1, ACTOR)
    for expires_at in (sharing.clock.now() + 299, secret.expires_at_max + 1):
        with pytest.raises(BadRequest):
            await sharing.secrets.update(
                secret.id, UpdateSecret(expires_at=rfc3339(expires_at)), None, ACTOR
            )
    later = await sharing.secrets.update(
        secret.id, UpdateSecret(expires_at=rfc3339(secret.expires_at_max)), None, ACTOR
    )
    assert later.expires_at == secret.expires_at_max
    await sharing.secrets.revoke(secret.id, ACTOR)
    with pytest.raises(Conflict):
        await sharing.secrets.update(secret.id, UpdateSecret(label="x"), None, ACTOR)
    expired, _ = await sharing.create()
    sharing.clock.advance(expired.expires_at - sharing.clock.now())
    with pytest.raises(Conflict):
        await sharing.secrets.update(expired.id, UpdateSecret(label="x"), None, ACTOR)


async def test_revocation_of_a_link_changes_the_version_once(sharing: Sharing) -> None:
    secret, [token, _] = await sharing.create(recipients=["Grace", "Alan"])
    for _ in range(2):
        changed = await sharing.secrets.revoke_link(secret.id, token.link_id, ACTOR)
        assert changed.revision == secret.revision + 1


async def test_repr_of_a_link_shows_no_secret(sharing: Sharing) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    opened = await sharing.open(token, passphrase=PASSPHRASE)
    assert token.secret not in f"{token!r} {opened!r} {LinkToken('a', token.secret)}"


async def test_unconfirmed_opening_takes_no_use_and_needs_a_passphrase(sharing: Sharing) -> None:
    secret, [token] = await sharing.create()
    with pytest.raises(NotConfirmed):
        await sharing.links.open(token, "", "a" * 32, CLIENT, confirmed=False)
    assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 0
    assert await sharing.read(token) == TEXT
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    await sharing.links.open(token, PASSPHRASE, "a" * 32, CLIENT, confirmed=False)


async def test_claim_is_not_repeated_after_the_expiry(sharing: Sharing) -> None:
    _, [token] = await sharing.create(ttl_s=300)
    sharing.clock.advance(299)
    for _ in range(2):
        await sharing.open(token, claim="a" * 32)
    sharing.clock.advance(1)
    with pytest.raises(LinkNotFound):
        await sharing.open(token, claim="a" * 32)


async def test_acknowledged_claim_is_not_repeated_and_takes_no_further_use(
    sharing: Sharing,
) -> None:
    secret, [token] = await sharing.create(uses=2)
    await sharing.open(token, claim="a" * 32)
    await sharing.links.acknowledge(token, "a" * 32, CLIENT)
    acknowledged = (await sharing.secrets.get(secret.id)).links
    with pytest.raises(LinkNotFound):
        await sharing.open(token, claim="a" * 32)
    await sharing.links.acknowledge(token, "a" * 32, CLIENT)
    assert (await sharing.secrets.get(secret.id)).links == acknowledged
    assert await sharing.read(token) == TEXT


async def test_link_without_keys_gets_no_further_uses(sharing: Sharing) -> None:
    secret, [token, other] = await sharing.create(recipients=["a", "b"])
    await sharing.open(token, claim="a" * 32)
    await sharing.links.acknowledge(token, "a" * 32, CLIENT)
    await sharing.secrets.replace_content(secret.id, [NewItem(b"new")], None, ACTOR)
    updated = await sharing.secrets.update(secret.id, UpdateSecret(uses=3), None, ACTOR)
    assert [link.uses_max for link in updated.links.values()] == [1, 3]
    assert await sharing.read(other) == b"new"


async def test_secret_that_is_revoked_while_its_content_is_replaced_has_no_keys(
    sharing: Sharing,
) -> None:
    secret, _ = await sharing.create()
    loop, events = asyncio.get_running_loop(), sharing.backend.content._client.meta.events

    def revoke(**_: Any) -> None:
        revocation = sharing.secrets.revoke(secret.id, ACTOR)
        asyncio.run_coroutine_threadsafe(revocation, loop).result(60)

    events.register("before-call.s3.PutObject", revoke)
    try:
        with pytest.raises(Conflict):
            await sharing.secrets.replace_content(secret.id, [NewItem(b"new")], None, ACTOR)
    finally:
        events.unregister("before-call.s3.PutObject", revoke)
    stored = await sharing.secrets.get(secret.id)
    assert [link.wrapped_keys for link in stored.links.values()] == [{}]


def test_items_of_an_opened_secret_are_bounded() -> None:
    """`gatehouse secrets open` writes a file for each item that the server of a link sends."""
    items = [{"name": "", "media_type": "", "size": 0}] * (FILES_MAX + 2)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"claim": "c", "end_to_end": False, "items": items}, OpenedSecret)
