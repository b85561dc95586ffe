"""Writes to the table whose response is lost after DynamoDB executes them, and calls that DynamoDB
does not process.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing import table
from gatehouse.features.sharing.table import ConditionNotMet

from tests.runtime.features.sharing.aws_calls import rejected
from tests.runtime.features.sharing.requests.test_submissions import request, submit
from tests.runtime.features.sharing.services import ACTOR, TABLE, Sharing

pytestmark = pytest.mark.requirement("SS-03")


def item(sharing: Sharing) -> dict[str, Any]:
    return {"id": sharing.backend.new_id(), "kind": "test"}


async def test_repeated_creation_finds_its_own_item(sharing: Sharing) -> None:
    created, event = item(sharing), sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test")
    await sharing.backend.table.put(created, event)
    await sharing.backend.table.put(created, event)
    with pytest.raises(ConditionNotMet):
        await sharing.backend.table.put(
            created, sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test")
        )
    _, events = await sharing.backend.table.with_events(created["id"]) or ({}, [])
    assert events == [event]


async def test_wait_for_an_attempt_is_rounded_up_to_whole_seconds(sharing: Sharing) -> None:
    table, counter, began_at = sharing.backend.table, sharing.backend.new_id(), sharing.clock.now()

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


@pytest.mark.bound("sharing.table:_ATTEMPTS_MAX")
@pytest.mark.parametrize("refusals", [2, 1000])
async def test_read_that_dynamodb_does_not_process_is_repeated_a_few_times(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    monkeypatch.setattr(table, "_PAUSE_S", 0.0)
    created, event = item(sharing), sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test")
    await sharing.backend.table.put(created, event)

    def unprocessed() -> Any:
        keys = {TABLE: {"Keys": [{"id": {"S": created["id"]}}], "ConsistentRead": True}}
        reply = {"Responses": {TABLE: []}, "UnprocessedKeys": keys}
        return SimpleNamespace(status_code=200), reply

    with rejected(sharing, "BatchGetItem", refusals, unprocessed) as calls:
        if refusals == 2:
            (stored,) = await sharing.backend.table.get_all([created["id"]])
            assert stored["id"] == created["id"]
        else:
            with pytest.raises(Unavailable):
                await sharing.backend.table.get_all([created["id"]])
            assert len(calls) == table._ATTEMPTS_MAX


@pytest.mark.bound("sharing.table:_ATTEMPTS_MAX")
@pytest.mark.parametrize("conflicts", [2, 1000])
async def test_conflicting_transaction_is_repeated_a_few_times(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, conflicts: int
) -> None:
    monkeypatch.setattr(table, "_PAUSE_S", 0.0)
    created, token, _ = await request(sharing)

    def conflict() -> None:
        reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
        response: Any = {
            "Error": {"Code": "TransactionCanceledException"},
            "CancellationReasons": reasons,
        }
        raise ClientError(response, "TransactWriteItems")

    with rejected(sharing, "TransactWriteItems", conflicts, conflict) as calls:
        if conflicts == 2:
            await submit(sharing, token)
        else:
            with pytest.raises(Unavailable):
                await submit(sharing, token)
    received = len((await sharing.requests.get(created.id)).submissions)
    assert (len(calls), received) == ((3, 1) if conflicts == 2 else (table._ATTEMPTS_MAX, 0))
