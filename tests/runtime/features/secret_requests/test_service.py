"""Secret requests: exactly one submission becomes a secret, which only the requester can open."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from gatehouse.commands.cli import retrieval_links
from gatehouse.core.actor import Actor
from gatehouse.core.errors import Conflict, PreconditionFailed, Unavailable
from gatehouse.features.secret_requests.schemas import CreateSecretRequest
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import Client, Secret
from gatehouse.features.secrets.service import NewItem

from tests.runtime.features.secrets.faults import CALLS_MAX, faults
from tests.runtime.features.secrets.services import ACTOR, CLIENT, TEXT, Sharing

LIFETIME_S = 3600


async def request(
    sharing: Sharing, actor: Actor | None = None, **values: Any
) -> tuple[Secret, LinkToken, LinkToken]:
    link = retrieval_links.create()
    actor = actor or Actor(type="key", id=os.urandom(6).hex())
    fields = {
        "requester": "Grace",
        "purpose": "Password of the staging database",
        "ttl_s": LIFETIME_S,
        "retrieval_link": retrieval_links.parameters(link),
        **values,
    }
    new = msgspec.convert(fields, CreateSecretRequest)
    created, submission = await sharing.requests.create(new, actor.label, actor)
    return created, submission, link


async def submit(
    sharing: Sharing,
    token: LinkToken,
    content: bytes = TEXT,
    submission_id: str = "",
    items: Sequence[NewItem] = (),
    client: Client = CLIENT,
) -> None:
    await sharing.requests.submit(
        token, items or [NewItem(content)], submission_id or os.urandom(16).hex(), client
    )


async def test_repeated_submission_counts_once(sharing: Sharing) -> None:
    created, token, link = await request(sharing)
    await submit(sharing, token, submission_id="a" * 32)
    await submit(sharing, token, b"changed", submission_id="a" * 32)
    with pytest.raises(LinkNotFound):
        await submit(sharing, token, b"another")
    assert await sharing.read(link) == TEXT
    await sharing.secrets.revoke(created.id, ACTOR)
    await submit(sharing, token, submission_id="a" * 32)


async def test_revoked_request_receives_nothing(sharing: Sharing) -> None:
    for revoke_link in (False, True):
        created, token, link = await request(sharing)
        if revoke_link:
            await sharing.secrets.revoke_link(created.id, link.link_id, ACTOR)
        else:
            await sharing.secrets.revoke(created.id, ACTOR)
        with pytest.raises(LinkNotFound):
            await submit(sharing, token)
        with pytest.raises(LinkNotFound):
            await sharing.requests.find(token.path)
        assert (await sharing.secrets.get(created.id)).end_reason == "revoked"


async def test_requested_secret_cannot_be_changed(sharing: Sharing) -> None:
    created, token, link = await request(sharing)
    with pytest.raises(Conflict):
        await sharing.secrets.replace_content(created.id, [NewItem(b"owner")], None, ACTOR)
    await submit(sharing, token)
    assert await sharing.read(link) == TEXT


async def test_submission_changes_the_version_of_the_secret(sharing: Sharing) -> None:
    created, token, _ = await request(sharing)
    await submit(sharing, token)
    with pytest.raises(PreconditionFailed):
        await sharing.secrets.replace_content(
            created.id, [NewItem(b"owner")], created.revision, ACTOR
        )


async def test_concurrent_submissions_become_one_content(sharing: Sharing) -> None:
    created, token, link = await request(sharing)
    results = await asyncio.gather(
        *(submit(sharing, token, f"{number}".encode()) for number in range(6)),
        return_exceptions=True,
    )
    assert [result for result in results if not isinstance(result, LinkNotFound)] == [None]
    assert await sharing.read(link) == f"{results.index(None)}".encode()
    assert len((await sharing.secrets.get(created.id)).versions) == 1


async def test_request_that_expires_while_content_is_stored_receives_nothing(
    sharing: Sharing,
) -> None:
    created, token, _ = await request(sharing)

    def expire(**_: Any) -> None:
        sharing.clock.advance(LIFETIME_S)

    events = sharing.backend.content._client.meta.events
    events.register("before-call.s3.PutObject", expire)
    try:
        with pytest.raises(LinkNotFound):
            await submit(sharing, token)
    finally:
        events.unregister("before-call.s3.PutObject", expire)
    assert (await sharing.secrets.get(created.id)).state == "requested"


async def test_request_cannot_take_the_id_of_another_secret(sharing: Sharing) -> None:
    secret, [owner_link] = await sharing.create(b"theirs")
    stolen = LinkToken.create(f"{secret.id}abcdef")
    with pytest.raises(Conflict):
        await request(sharing, retrieval_link=retrieval_links.parameters(stolen))
    with pytest.raises(LinkNotFound):
        await submit(sharing, LinkToken(secret.id, owner_link.secret))
    assert await sharing.read(owner_link) == b"theirs"


@pytest.mark.parametrize("before", [True, False])
async def test_failed_submission_is_not_counted_or_received_as_a_whole(
    sharing: Sharing, *, before: bool
) -> None:
    occurred = 0
    for at in range(1, CALLS_MAX):
        created, token, link = await request(sharing)
        failed = False
        with faults(sharing, at, before=before) as fault:
            try:
                await submit(
                    sharing,
                    token,
                    submission_id="a" * 32,
                    items=[NewItem(TEXT), NewItem(b"file", "a")],
                )
            except Unavailable:
                failed = True
        occurred += fault.occurred
        count = (await sharing.secrets.get(created.id)).state == "active"
        assert count or failed
        # The same submission is repeated. If the first attempt was not counted, another submission
        # is sent in some rounds.
        if not count:
            with pytest.raises(LinkNotFound):
                await sharing.open(link)
        await submit(sharing, token, submission_id="a" * 32 if at % 2 or count else "b" * 32)
        assert await sharing.read(link) == TEXT
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1
