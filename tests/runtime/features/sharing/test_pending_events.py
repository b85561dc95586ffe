"""Items whose events are not in the audit trail yet: bounded writes, bounded items, and the limits
of DynamoDB.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError
from gatehouse.core.actor import RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing import table
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.models import (
    RECIPIENTS_MAX,
    USES_MAX,
    VERSIONS_MAX,
    Claim,
    Client,
    SecretState,
)
from gatehouse.features.sharing.schemas import (
    FILE_NAME_CHARS_MAX,
    FILES_MAX,
    NAME_CHARS_MAX,
    secret_view,
)
from gatehouse.features.sharing.service import NewItem
from gatehouse.features.sharing.table import PENDING_DENIED_MAX, PENDING_MAX, builtins, update_of

from tests.runtime.features.sharing.aws_calls import rejected
from tests.runtime.features.sharing.services import ACTOR, TABLE, TEXT, Sharing
from tests.runtime.features.sharing.test_worker import OWNER, Work, work

__all__ = ["work"]
pytestmark = pytest.mark.requirement("SS-03")


async def store_events(sharing: Sharing, item_id: str, count: int) -> None:
    """Store denied attempts with an item, without the bound."""
    event = sharing.backend.event(ACTOR, AuditAction.LINK_DENIED, item_id, {"reason": "ended"})
    write = update_of(item_id, event, Attr("links").exists(), pending_max=None)
    events = [
        builtins(msgspec.structs.replace(event, id=sharing.backend.new_id())) for _ in range(count)
    ]
    write["ExpressionAttributeValues"][":events"] = table._write(events)
    await asyncio.to_thread(sharing.dynamodb.update_item, TableName=TABLE, **write)


async def pending(sharing: Sharing, item_id: str) -> int:
    _, events = await sharing.backend.table.with_events(item_id) or ({}, [])
    return len(events)


async def test_more_events_than_fit_an_update_expression_are_recorded_and_removed(
    work: Work,
) -> None:
    secret, _ = await work.sharing.create()
    await store_events(work.sharing, secret.id, 450)
    await work.run()
    assert await pending(work.sharing, secret.id) == 0
    assert await work.actions(secret.id) == ["secret.create", *["link.denied"] * 450]


@pytest.mark.bound("sharing.table:PENDING_MAX")
async def test_opening_waits_for_the_audit_trail_and_revoking_does_not(work: Work) -> None:
    secret, tokens = await work.sharing.create(recipients=["Ada", "Grace"])
    await store_events(work.sharing, secret.id, PENDING_MAX - 1)
    with pytest.raises(Unavailable, match="audit trail"):
        await work.sharing.open(tokens[0])
    assert (await work.sharing.secrets.get(secret.id)).links[tokens[0].link_id].uses == 0
    await work.sharing.secrets.revoke_link(secret.id, tokens[1].link_id, OWNER)

    await work.run()
    assert await work.sharing.text(await work.sharing.open(tokens[0])) == TEXT
    await store_events(work.sharing, secret.id, PENDING_MAX)
    await work.sharing.secrets.revoke(secret.id, OWNER)
    await work.run()
    assert (await work.sharing.secrets.get(secret.id)).state == SecretState.PURGED


@pytest.mark.bound("sharing.table:PENDING_DENIED_MAX")
async def test_denied_attempts_leave_room_for_openings(sharing: Sharing) -> None:
    secret, (token,) = await sharing.create()
    await store_events(sharing, secret.id, PENDING_DENIED_MAX - 1)
    event = sharing.backend.event(ACTOR, AuditAction.LINK_DENIED, secret.id, {"reason": "ended"})
    for _ in range(2):
        await sharing.backend.repository.record(secret.id, token.link_id, event)
    assert await pending(sharing, secret.id) == PENDING_DENIED_MAX
    assert await sharing.text(await sharing.open(token)) == TEXT


async def test_largest_item_fits_dynamodb(sharing: Sharing) -> None:
    """The emulator rejects an item above 405,000 bytes; DynamoDB rejects an item above 409,600
    bytes.
    """
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
    largest = msgspec.structs.replace(
        secret, id=sharing.backend.new_id(), versions=versions, links=links
    )
    client = Client("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", RequestId("req_" + "f" * 26))
    token = msgspec.structs.replace(tokens[0], secret_id=largest.id)
    event = sharing.links._event(token, client, AuditAction.LINK_CLAIM, {"claim": "f" * 32})
    item = {
        **builtins(largest),
        "work": "pending",
        "work_at": now,
        "events": [builtins(event)] * (PENDING_MAX + RECIPIENTS_MAX + 2),
    }
    await asyncio.to_thread(
        sharing.dynamodb.put_item, TableName=TABLE, Item=table._write(item)["M"]
    )


async def test_recipients_are_listed_in_the_order_of_the_request(sharing: Sharing) -> None:
    names = [f"recipient {number}" for number in range(RECIPIENTS_MAX)]
    secret, _ = await sharing.create(recipients=names)
    shown = secret_view(await sharing.secrets.get(secret.id), sharing.clock.now())
    changed = await sharing.secrets.revoke_link(secret.id, shown.links[4].id, OWNER)
    assert [link.recipient for link in shown.links] == names
    assert [link.recipient for link in changed.links.values()] == names


@pytest.mark.bound("sharing.table:_ATTEMPTS_MAX")
@pytest.mark.parametrize("refusals", [2, 1000])
async def test_write_during_a_transaction_is_repeated_a_few_times(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    monkeypatch.setattr(table, "_PAUSE_S", 0.0)
    secret, _ = await sharing.create()

    def conflict() -> None:
        raise ClientError({"Error": {"Code": "TransactionConflictException"}}, "UpdateItem")

    with rejected(sharing, "UpdateItem", refusals, conflict) as calls:
        if refusals == 2:
            assert (await sharing.secrets.revoke(secret.id, OWNER)).state == SecretState.ENDED
        else:
            with pytest.raises(Unavailable):
                await sharing.secrets.revoke(secret.id, OWNER)
    assert len(calls) == min(refusals + 1, table._ATTEMPTS_MAX)


async def test_link_of_a_secret_that_is_purged_while_it_is_opened_is_not_found(
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret, (token,) = await work.sharing.create()
    claim = work.sharing.links._repository.claim

    async def purge_first(*arguments: Any) -> Any:
        await work.sharing.secrets.revoke(secret.id, OWNER)
        await work.run()
        return await claim(*arguments)

    monkeypatch.setattr(work.sharing.links._repository, "claim", purge_first)
    with pytest.raises(LinkNotFound):
        await work.sharing.open(token)


async def test_content_that_is_purged_while_it_is_opened_is_not_found(work: Work) -> None:
    secret, (token,) = await work.sharing.create()
    opened = await work.sharing.open(token)
    await work.sharing.secrets.revoke(secret.id, OWNER)
    await work.run()
    with pytest.raises(LinkNotFound):
        await work.sharing.text(opened)
