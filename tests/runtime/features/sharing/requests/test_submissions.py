"""Secret requests: exactly one submission becomes a secret, which only the requester can open."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from gatehouse.client import retrieval_links
from gatehouse.core.actor import Actor
from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.link_token import LinkToken, SubmissionToken
from gatehouse.features.sharing.requests.models import SecretRequest, shown_state
from gatehouse.features.sharing.requests.schemas import CreateSecretRequest
from gatehouse.features.sharing.service import NewItem

from tests.runtime.features.sharing.faults import CALLS_MAX, faults
from tests.runtime.features.sharing.processes import submit_at_the_same_time
from tests.runtime.features.sharing.services import ACTOR, BUCKET, CLIENT, TABLE, TEXT, Sharing

pytestmark = pytest.mark.requirement("SS-01")
LIFETIME_S = 3600


async def request(
    sharing: Sharing, actor: Actor | None = None, **values: Any
) -> tuple[SecretRequest, SubmissionToken, LinkToken]:
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
    token: SubmissionToken,
    content: bytes = TEXT,
    submission_id: str = "",
    items: Sequence[NewItem] = (),
) -> None:
    await sharing.submissions.submit(
        token, items or [NewItem(content)], submission_id or os.urandom(16).hex(), CLIENT
    )


async def test_submission_is_opened_once_by_the_requester(sharing: Sharing) -> None:
    created, token, link = await request(sharing, label="database")
    with pytest.raises(LinkNotFound):
        await sharing.open(link)
    await submit(
        sharing,
        token,
        items=[NewItem(TEXT), NewItem(b"\x00\xff", "key.bin", "application/x-key")],
    )
    current = await sharing.requests.get(created.id)
    assert current.secret == link.secret_id
    assert shown_state(current, sharing.clock.now()) == "used"
    secret = await sharing.secrets.get(link.secret_id)
    assert (secret.owner, secret.label, secret.sender) == (
        created.owner,
        "database",
        f"request:{created.id}",
    )
    assert secret.expires_at == sharing.clock.now() + LIFETIME_S
    opened = await sharing.open(link)
    assert [item.name for item in opened.items] == ["", "key.bin"]
    assert [await sharing.text(opened, number) for number in (0, 1)] == [TEXT, b"\x00\xff"]
    with pytest.raises(LinkNotFound):
        await sharing.open(link)


async def test_repeated_submission_counts_once(sharing: Sharing) -> None:
    created, token, link = await request(sharing)
    await submit(sharing, token, submission_id="a" * 32)
    await submit(sharing, token, b"changed", submission_id="a" * 32)
    with pytest.raises(LinkNotFound):
        await submit(sharing, token, b"another")
    revoked = await sharing.requests.revoke(created.id, ACTOR)
    assert (revoked.state, revoked.ended_at) == ("revoked", sharing.clock.now())
    sharing.clock.advance(10)
    assert await sharing.requests.revoke(created.id, ACTOR) == revoked
    assert await sharing.text(await sharing.open(link)) == TEXT


async def test_submission_changes_no_other_secret(sharing: Sharing) -> None:
    secret, [owner_link] = await sharing.create(b"theirs")
    stolen = LinkToken.create(secret.id, "abcdef", os.urandom)
    created, token, _ = await request(sharing, retrieval_link=retrieval_links.parameters(stolen))
    before = [key for key in sharing.object_versions() if secret.id in key]
    with faults(sharing, 4, before=True) as fault, pytest.raises(Unavailable):
        await submit(sharing, token, items=[NewItem(b"first"), NewItem(b"second", "a")])
    assert fault.occurred
    assert [key for key in sharing.object_versions() if secret.id in key] == before
    with pytest.raises(LinkNotFound):
        await submit(sharing, token)
    assert (await sharing.requests.get(created.id)).submission is None
    assert await sharing.text(await sharing.open(owner_link)) == b"theirs"


@pytest.mark.requirement("SS-04")
async def test_stored_data_and_kms_cannot_open_a_submission(sharing: Sharing) -> None:
    canary = b"canary-" + os.urandom(8).hex().encode()
    _, token, link = await request(sharing)
    await submit(sharing, token, items=[NewItem(canary), NewItem(canary, "canary-name.txt")])
    stored = str(sharing.dynamodb.scan(TableName=TABLE)["Items"])
    bodies = [
        sharing.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in set(sharing.object_versions())
    ]
    assert bodies
    for text in (canary.decode(), "canary-name", token.secret, link.secret):
        assert text not in stored
        assert not [body for body in bodies if text.encode() in body]
    secret = await sharing.secrets.get(link.secret_id)
    assert await sharing.backend.data_keys.decrypt(secret.id, secret.current.data_key)
    # The servers know the IDs of the link, but not the link secret.
    with pytest.raises(LinkNotFound):
        await sharing.open(LinkToken(link.secret_id, link.link_id, token.secret))


@pytest.mark.requirement("SS-03")
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
        count = (await sharing.requests.get(created.id)).submission is not None
        assert count == (await sharing.backend.repository.get(link.secret_id) is not None)
        assert count or failed
        # The same submission is repeated. If the first attempt was not counted, another submission
        # is sent in some rounds.
        if not count:
            with pytest.raises(LinkNotFound):
                await sharing.open(link)
        await submit(sharing, token, submission_id="a" * 32 if at % 2 or count else "b" * 32)
        assert await sharing.text(await sharing.open(link)) == TEXT
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1


@pytest.mark.requirement("SS-03")
async def test_one_submission_of_several_processes_is_received(sharing: Sharing, aws: str) -> None:
    processes_count, rounds_count = 2, 4
    requests = [await request(sharing) for _ in range(rounds_count)]
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes_count), context.Queue()
    tokens = [(token.path, token.secret) for _, token, _ in requests]
    processes = [
        context.Process(target=submit_at_the_same_time, args=(aws, tokens, barrier, results))
        for _ in range(processes_count)
    ]
    for process in processes:
        process.start()
    rounds = [
        await asyncio.to_thread(results.get, True, 120)
        for _ in range(processes_count * rounds_count)
    ]
    outcomes = [outcome for attempts in rounds for outcome in attempts]
    for process in processes:
        process.join(60)
    accepted = {outcome.encode() for outcome in outcomes if outcome != "not found"}
    assert (len(accepted), len(outcomes)) == (rounds_count, 2 * processes_count * rounds_count)
    assert {await sharing.text(await sharing.open(link)) for _, _, link in requests} == accepted
