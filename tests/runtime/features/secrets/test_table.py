"""Lost responses, concurrent writes, pending events, counters, and partial reads of the table."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from gatehouse.core.actor import RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Unavailable
from gatehouse.features.secrets import table as table_module
from gatehouse.features.secrets.link_token import LinkToken, new_id
from gatehouse.features.secrets.models import (
    RECIPIENTS_MAX,
    USES_MAX,
    VERSIONS_MAX,
    Claim,
    Client,
    Secret,
    SecretState,
    SharingEvent,
)
from gatehouse.features.secrets.schemas import (
    FILE_NAME_CHARS_MAX,
    FILES_MAX,
    NAME_CHARS_MAX,
    receipt_view,
    secret_view,
)
from gatehouse.features.secrets.service import NewItem
from gatehouse.features.secrets.table import PENDING_MAX, ConditionNotMet

from tests.runtime.features.secrets.aws_calls import recorded, rejected
from tests.runtime.features.secrets.services import ACTOR, TABLE, TEXT, Sharing


async def test_repeated_creation_finds_its_own_item(sharing: Sharing) -> None:
    table = sharing.backend.table
    created = msgspec.structs.replace((await sharing.create())[0], id=new_id())
    event = sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test")
    await table.create(created, event)
    await table.create(created, event)
    with pytest.raises(ConditionNotMet):
        await table.create(created, sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test"))
    assert await table.with_events(created.id) == (created, [event])
    await table.settle(created.id, [event], next_at=None)
    await table.create(created, event)


async def test_repeated_change_finds_its_own_event(sharing: Sharing) -> None:
    secret, _ = await sharing.create()
    table = sharing.backend.table
    changes = [sharing.backend.event(ACTOR, AuditAction.SECRET_UPDATE, "test") for _ in range(2)]
    after = msgspec.structs.replace(secret, label="changed", writes=secret.writes + 1)
    for _ in range(2):
        assert await table.update(secret, after, changes[0], waits=True) == after
        _, events = await table.with_events(secret.id) or (None, [])
        await table.settle(secret.id, events, next_at=None)
    with pytest.raises(ConditionNotMet):
        await table.update(secret, after, changes[1], waits=True)


async def test_wait_for_an_attempt_is_rounded_up_to_whole_seconds(sharing: Sharing) -> None:
    table, counter, began_at = sharing.backend.table, new_id(), 1_800_000_000

    async def take(elapsed_s: float) -> int | None:
        now = began_at + elapsed_s
        return (await table.take_attempt(counter, limit=1, window_s=60.0, now=now))[0]

    assert await take(0) is None
    assert [await take(elapsed_s) for elapsed_s in (0.25, 0.75, 45, 59.25, 59.75)] == [
        60,
        60,
        15,
        1,
        1,
    ]
    assert await take(60) is None


async def test_keys_that_dynamodb_does_not_process_are_read_again(sharing: Sharing) -> None:
    secrets = [(await sharing.create(owner="unprocessed"))[0] for _ in range(2)]

    def unprocessed() -> Any:
        keys = {TABLE: {"Keys": [{"id": {"S": secrets[0].id}}], "ConsistentRead": True}}
        stored = sharing.dynamodb.get_item(TableName=TABLE, Key={"id": {"S": secrets[1].id}})
        reply = {"Responses": {TABLE: [stored["Item"]]}, "UnprocessedKeys": keys}
        return SimpleNamespace(status_code=200), reply

    with rejected(sharing, "BatchGetItem", 1, unprocessed) as calls:
        listed, _ = await sharing.backend.table.of_owner("unprocessed", after=None, size=2)
    assert ({secret.id for secret in listed}, len(calls)) == ({secret.id for secret in secrets}, 2)


async def test_page_of_large_secrets_is_read_in_parts(sharing: Sharing) -> None:
    table, (secret, _) = sharing.backend.table, await sharing.create(owner="large")
    for _ in range(10):
        event = sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test")
        await table.create(msgspec.structs.replace(secret, id=new_id()), event)
    with recorded(sharing) as calls:
        page, _ = await table.of_owner("large", after=None, size=100)
    assert (len(page), calls.count("BatchGetItem")) == (11, 2)


async def store_events(sharing: Sharing, secret: Secret, count: int) -> None:
    event = sharing.backend.event(ACTOR, AuditAction.LINK_DENIED, secret.id, {"reason": "ended"})
    write = table_module.append(secret.id, {}, event, "attribute_exists(id)", {}, None)
    events = [msgspec.structs.replace(event, id=new_id()) for _ in range(count)]
    write["ExpressionAttributeValues"][":events"] = table_module.encoded(*events)
    await asyncio.to_thread(sharing.dynamodb.update_item, TableName=TABLE, **write)


async def pending(sharing: Sharing, secret: Secret) -> list[SharingEvent]:
    _, events = await sharing.backend.table.with_events(secret.id) or ({}, [])
    return events


@pytest.mark.bound("secrets.table:PENDING_MAX")
async def test_opening_waits_for_the_audit_trail_and_revoking_does_not(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "PENDING_MAX", 3)
    secret, tokens = await sharing.create(recipients=["Ada", "Grace"])
    await store_events(sharing, secret, 2)
    with pytest.raises(Unavailable, match="audit trail"):
        await sharing.open(tokens[0])
    assert (await sharing.secrets.get(secret.id)).links[tokens[0].link_id].uses == 0
    await sharing.secrets.revoke_link(secret.id, tokens[1].link_id, ACTOR)
    events = await pending(sharing, secret)
    await sharing.backend.table.settle(secret.id, events, next_at=None)
    assert (len(events), await pending(sharing, secret)) == (4, [])
    assert await sharing.read(tokens[0]) == TEXT
    await store_events(sharing, secret, 3)
    assert (await sharing.secrets.revoke(secret.id, ACTOR)).state == SecretState.ENDED


@pytest.mark.bound("secrets.table:PENDING_DENIED_MAX")
async def test_denied_attempts_leave_room_for_openings(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "PENDING_DENIED_MAX", 2)
    secret, (token,) = await sharing.create()
    event = sharing.backend.event(ACTOR, AuditAction.LINK_DENIED, secret.id, {"reason": "ended"})
    for _ in range(2):
        await sharing.backend.table.record(secret.id, event)
    assert len(await pending(sharing, secret)) == 2
    assert await sharing.read(token) == TEXT


async def test_events_that_were_added_since_the_item_was_read_remain(sharing: Sharing) -> None:
    secret, (token,) = await sharing.create()
    events = await pending(sharing, secret)
    await sharing.open(token)
    await sharing.backend.table.settle(secret.id, events, next_at=None)
    actions = [event.audit_event.action for event in await pending(sharing, secret)]
    assert actions == [AuditAction.SECRET_CREATE, AuditAction.LINK_CLAIM]


async def test_largest_item_fits_dynamodb(sharing: Sharing) -> None:
    """The emulator rejects an item above 405,000 bytes; DynamoDB one above 409,600 bytes."""
    letter = "\N{HORSE FACE}"
    files = [
        NewItem(b"x", f"{number}{letter * (FILE_NAME_CHARS_MAX - 1)}", "a" * 64 + "/" + "b" * 64)
        for number in range(FILES_MAX)
    ]
    secret, tokens = await sharing.create(
        items=[NewItem(TEXT), *files],
        sender=letter * NAME_CHARS_MAX,
        label=letter * NAME_CHARS_MAX,
        recipients=[letter * NAME_CHARS_MAX] * RECIPIENTS_MAX,
        passphrase="a passphrase",
        uses=USES_MAX,
    )
    now = sharing.clock.now()
    versions = tuple(
        msgspec.structs.replace(secret.current, number=number)
        for number in range(1, VERSIONS_MAX + 1)
    )
    claims = {f"{number:032x}": Claim(now, now) for number in range(USES_MAX)}
    links = {
        link.id: msgspec.structs.replace(
            link,
            wrapped_keys={
                str(number): link.wrapped_keys["1"] for number in range(1, VERSIONS_MAX + 1)
            },
            claims=claims,
            uses=USES_MAX - 1,
        )
        for link in secret.links.values()
    }
    largest = msgspec.structs.replace(secret, id=new_id(), versions=versions, links=links)
    client = Client("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", RequestId("req_" + "f" * 26))
    token = LinkToken(largest.id + tokens[0].link_id, tokens[0].secret)
    event = sharing.links._event(token, client, AuditAction.LINK_CLAIM, {"claim": "f" * 32})
    item = table_module.new_item(largest, *[event] * (PENDING_MAX + RECIPIENTS_MAX + 2))
    await asyncio.to_thread(sharing.dynamodb.put_item, TableName=TABLE, Item=item)


async def test_recipients_are_listed_in_the_order_of_the_request(sharing: Sharing) -> None:
    names = [f"recipient {number}" for number in range(RECIPIENTS_MAX)]
    secret, _ = await sharing.create(recipients=names)
    stored = await sharing.secrets.get(secret.id)
    views = secret_view(stored, 0).links, receipt_view(stored, {}, 0).links
    assert [[link.recipient for link in links] for links in views] == [names, names]


@pytest.mark.bound("secrets.table:_ATTEMPTS_MAX")
@pytest.mark.parametrize("refusals", [2, 1000])
async def test_write_that_meets_other_writes_is_repeated_a_few_times(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    monkeypatch.setattr(table_module, "_PAUSE_S", 0.0)
    secret, _ = await sharing.create()

    def conflict() -> None:
        raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")

    with rejected(sharing, "UpdateItem", refusals, conflict) as calls:
        if refusals == 2:
            assert (await sharing.secrets.revoke(secret.id, ACTOR)).state == SecretState.ENDED
        else:
            with pytest.raises(Unavailable):
                await sharing.secrets.revoke(secret.id, ACTOR)
    assert len(calls) == min(refusals + 1, table_module._ATTEMPTS_MAX)
