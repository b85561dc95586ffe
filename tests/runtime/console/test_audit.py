"""Searching the audit trail and taking it away: every condition, both formats, and no formula for a spreadsheet to run."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from gatehouse.audit.chain import first_break
from gatehouse.audit.schemas import AuditEventView, audit_row

from tests.runtime.console.conftest import Console


async def found(door: Console, **query: str) -> list[dict[str, Any]]:
    reply = await door.client.get("/v1/audit-events", params=query)
    assert reply.status_code == 200, reply.text
    events: list[dict[str, Any]] = reply.json()["events"]
    return events


@pytest.mark.requirement("TR-11")
async def test_the_trail_is_searched_by_actor_action_target_outcome_and_time(door: Console) -> None:
    admin = await door.create(scopes=["admin"])
    made = await door.client.post("/v1/keys", json={"name": "x"}, headers=door.as_(admin["token"]))
    key_id, admin_id = made.json()["key"]["id"], admin["key"]["id"]
    await door.client.post(f"/v1/keys/{key_id}/revoke")
    await door.client.get("/v1/keys", headers=door.as_("wrong"))
    assert [event["target_id"] for event in await found(door, actor_id=admin_id)] == [key_id]
    assert [event["action"] for event in await found(door, target_id=key_id, action="key.*")] == ["key.revoke", "key.create"]
    assert await found(door, target_id=key_id, action="key.%") == []
    assert {event["outcome"] for event in await found(door, outcome="denied")} == {"denied"}
    at = (await found(door, target_id=key_id))[0]["occurred_at"]
    assert [event["action"] for event in await found(door, target_id=key_id, since=at)] == ["key.revoke"]
    assert [event["action"] for event in await found(door, target_id=key_id, until=at)] == ["key.create"]


async def test_a_cursor_belongs_to_its_search(door: Console) -> None:
    for _ in range(2):
        await door.create()
    cursor = (await door.client.get("/v1/audit-events", params={"limit": 1})).json()["next_cursor"]
    reply = await door.client.get("/v1/audit-events", params={"cursor": cursor, "outcome": "success"})
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "query.cursor")


@pytest.mark.requirement("TR-11")
async def test_the_whole_trail_is_taken_away_as_ndjson_and_checks_out(door: Console) -> None:
    await door.create(name="Prüfung \U0001f511")
    reply = await door.client.get("/v1/audit-export")
    assert reply.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
    rows = [audit_row(msgspec.json.decode(line, type=AuditEventView)) for line in reply.text.splitlines()]
    assert first_break(rows) is None
    assert json.loads(reply.text.splitlines()[-1])["details"]["name"] == "Prüfung \U0001f511"


@pytest.mark.requirement("TR-11")
async def test_a_csv_holds_no_cell_that_a_spreadsheet_would_run(door: Console) -> None:
    key_id = (await door.create())["key"]["id"]
    await door.client.post(f"/v1/keys/{key_id}/revoke", json={"reason": "=cmd()"})
    door.database.sql("UPDATE audit_event SET actor_id = '=1+1', source_address = '@SUM(A1)' WHERE action = 'key.revoke'")
    text = (await door.client.get("/v1/audit-export", params={"format": "csv", "target_id": key_id})).text
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    revoked = dict(zip(header, rows[-1], strict=True))
    assert (revoked["actor_id"], revoked["source_address"]) == ("'=1+1", "'@SUM(A1)")
    assert json.loads(revoked["details"]) == {"reason": "=cmd()"}
    assert len(rows) == 2
