"""Lost responses, counters, and partial reads of the table."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.secrets.link_token import new_id
from gatehouse.features.secrets.table import ConditionNotMet

from tests.runtime.features.secrets.aws_calls import recorded, rejected
from tests.runtime.features.secrets.services import ACTOR, TABLE, Sharing

pytestmark = pytest.mark.requirement("SS-03")


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
        return await table.take_attempt(counter, limit=1, window_s=60.0, now=began_at + elapsed_s)

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
