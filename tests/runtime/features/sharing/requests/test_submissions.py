"""Secret requests: submissions become secrets that only the requester can open, exactly as many as
were requested.
"""

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
    sharing: Sharing, submissions: int = 1, actor: Actor | None = None, **values: Any
) -> tuple[SecretRequest, SubmissionToken, list[LinkToken]]:
    tokens = [retrieval_links.create() for _ in range(submissions)]
    actor = actor or Actor(type="key", id=os.urandom(6).hex())
    fields = {
        "requester": "Grace",
        "purpose": "Password of the staging database",
        "ttl_s": LIFETIME_S,
        "retrieval_links": [retrieval_links.parameters(token) for token in tokens],
        **values,
    }
    new = msgspec.convert(fields, CreateSecretRequest)
    created, submission = await sharing.requests.create(new, actor.label, actor)
    return created, submission, tokens


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
    created, token, [link] = await request(sharing, label="database")
    with pytest.raises(LinkNotFound):
        await sharing.open(link)
    await submit(
        sharing,
        token,
        items=[NewItem(TEXT), NewItem(b"\x00\xff", "key.bin", "application/x-key")],
    )
    current = await sharing.requests.get(created.id)
    assert [submission.secret for submission in current.submissions.values()] == [link.secret_id]
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


async def test_each_submission_is_a_secret_with_a_link_of_its_own(sharing: Sharing) -> None:
    created, token, links = await request(sharing, submissions=3)
    for number in range(3):
        await submit(sharing, token, b"submission %d" % number)
    with pytest.raises(LinkNotFound):
        await submit(sharing, token)
    current = await sharing.requests.get(created.id)
    assert {submission.secret for submission in current.submissions.values()} == {
        link.secret_id for link in links
    }
    contents = [await sharing.text(await sharing.open(link)) for link in links]
    assert contents == [b"submission 0", b"submission 1", b"submission 2"]


async def test_repeated_submission_counts_once(sharing: Sharing) -> None:
    created, token, [first, second] = await request(sharing, submissions=2)
    await submit(sharing, token, submission_id="a" * 32)
    await submit(sharing, token, b"changed", submission_id="a" * 32)
    assert len((await sharing.requests.get(created.id)).submissions) == 1
    assert await sharing.text(await sharing.open(first)) == TEXT
    await submit(sharing, token, b"second")
    # Repeated, because the response was lost; no other is accepted.
    await submit(sharing, token, submission_id="a" * 32)
    assert await sharing.text(await sharing.open(second)) == b"second"


async def test_revocation_keeps_what_was_submitted(sharing: Sharing) -> None:
    created, token, [first, _] = await request(sharing, submissions=2)
    await submit(sharing, token)
    revoked = await sharing.requests.revoke(created.id, ACTOR)
    assert (revoked.state, revoked.ended_at) == ("revoked", sharing.clock.now())
    sharing.clock.advance(10)
    assert await sharing.requests.revoke(created.id, ACTOR) == revoked
    assert await sharing.text(await sharing.open(first)) == TEXT


async def test_id_of_another_secret_is_never_replaced(sharing: Sharing) -> None:
    secret, [owner_link] = await sharing.create(b"theirs")
    stolen = LinkToken.create(secret.id, "abcdef", os.urandom)
    free = retrieval_links.create()
    created, token, _ = await request(
        sharing,
        retrieval_links=[retrieval_links.parameters(stolen), retrieval_links.parameters(free)],
    )
    await submit(sharing, token)
    assert await sharing.text(await sharing.open(free)) == TEXT
    with pytest.raises(LinkNotFound):
        await submit(sharing, token)
    assert len((await sharing.requests.get(created.id)).submissions) == 1
    assert await sharing.text(await sharing.open(owner_link)) == b"theirs"


async def test_failed_submission_deletes_only_its_own_objects(sharing: Sharing) -> None:
    secret, [owner_link] = await sharing.create(b"theirs")
    stolen = LinkToken.create(secret.id, "abcdef", os.urandom)
    _, token, _ = await request(sharing, retrieval_links=[retrieval_links.parameters(stolen)])
    before = [key for key in sharing.object_versions() if secret.id in key]
    with faults(sharing, 4, before=True) as fault, pytest.raises(Unavailable):
        await submit(sharing, token, items=[NewItem(b"first"), NewItem(b"second", "a")])
    assert fault.occurred
    assert [key for key in sharing.object_versions() if secret.id in key] == before
    assert await sharing.text(await sharing.open(owner_link)) == b"theirs"


@pytest.mark.requirement("SS-04")
async def test_stored_data_and_kms_cannot_open_a_submission(sharing: Sharing) -> None:
    canary = b"canary-" + os.urandom(8).hex().encode()
    _, token, [link] = await request(sharing)
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
        created, token, [link] = await request(sharing)
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
        count = len((await sharing.requests.get(created.id)).submissions)
        assert count == (await sharing.backend.repository.get(link.secret_id) is not None)
        assert count or failed
        # The same submission is repeated. If the first attempt was not counted, another submission
        # is sent in some rounds.
        if not count:
            with pytest.raises(LinkNotFound):
                await sharing.open(link)
        await submit(sharing, token, submission_id="a" * 32 if at % 2 or count else "b" * 32)
        assert len((await sharing.requests.get(created.id)).submissions) == 1
        assert await sharing.text(await sharing.open(link)) == TEXT
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1


@pytest.mark.requirement("SS-03")
async def test_processes_submit_exactly_as_often_as_requested(sharing: Sharing, aws: str) -> None:
    processes_count, allowed = 2, (1, 2, 1, 2)
    requests = [await request(sharing, submissions=submissions) for submissions in allowed]
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
        for _ in range(processes_count * len(allowed))
    ]
    outcomes = [outcome for attempts in rounds for outcome in attempts]
    for process in processes:
        process.join(60)
    accepted = {outcome.encode() for outcome in outcomes if outcome != "not found"}
    assert len(accepted) == sum(allowed)
    assert len(outcomes) == 2 * processes_count * len(allowed)
    assert [
        len((await sharing.requests.get(created.id)).submissions) for created, _, _ in requests
    ] == list(allowed)
    assert {
        await sharing.text(await sharing.open(link)) for _, _, links in requests for link in links
    } == accepted
