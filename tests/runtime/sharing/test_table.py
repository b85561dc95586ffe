"""Writes of the table that DynamoDB executes although their response is lost, or that other transactions delay."""

from __future__ import annotations

from typing import Any

import pytest
from gatehouse.audit.models import AuditAction
from gatehouse.sharing.table import ConditionNotMet

from tests.runtime.sharing.conftest import ACTOR, Sharing

pytestmark = pytest.mark.requirement("SS-03")


def item(sharing: Sharing) -> dict[str, Any]:
    return {"id": sharing.backend.new_id(), "kind": "test"}


async def test_repeated_creation_finds_its_own_item(sharing: Sharing) -> None:
    created, event = item(sharing), sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test")
    await sharing.backend.table.put(created, event)
    await sharing.backend.table.put(created, event)
    with pytest.raises(ConditionNotMet):
        await sharing.backend.table.put(created, sharing.backend.event(ACTOR, AuditAction.SECRET_CREATE, "test"))
    _, events = await sharing.backend.table.with_events(created["id"]) or ({}, [])
    assert events == [event]
