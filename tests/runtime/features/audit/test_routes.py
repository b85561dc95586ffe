"""Audit trail API: filters, NDJSON and CSV export."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from gatehouse.core.audit_chain import first_break
from gatehouse.features.audit.schemas import AuditEventView, audit_row

from tests.runtime.console_client import Console


async def search_events(console: Console, **query: str) -> list[dict[str, Any]]:
    reply = await console.client.get("/v1/audit-events", params=query)
    assert reply.status_code == 200, reply.text
    events: list[dict[str, Any]] = reply.json()["events"]
    return events


@pytest.mark.requirement("TR-11")
async def test_audit_events_are_filtered(console: Console) -> None:
    admin = await console.create(scopes=["admin"])
    created = await console.client.post(
        "/v1/keys", json={"name": "x"}, headers=console.as_(admin["token"])
    )
    key_id, admin_id = created.json()["key"]["id"], admin["key"]["id"]
    await console.client.post(f"/v1/keys/{key_id}/revoke")
    await console.client.get("/v1/keys", headers=console.as_("wrong"))
    assert [event["target_id"] for event in await search_events(console, actor_id=admin_id)] == [
        key_id
    ]
    assert [
        event["action"] for event in await search_events(console, target_id=key_id, action="key.*")
    ] == [
        "key.revoke",
        "key.create",
    ]
    assert await search_events(console, target_id=key_id, action="key.%") == []
    assert {event["outcome"] for event in await search_events(console, outcome="denied")} == {
        "denied"
    }
    at = (await search_events(console, target_id=key_id))[0]["occurred_at"]
    assert [
        event["action"] for event in await search_events(console, target_id=key_id, since=at)
    ] == ["key.revoke"]
    assert [
        event["action"] for event in await search_events(console, target_id=key_id, until=at)
    ] == ["key.create"]


@pytest.mark.requirement("TR-11")
async def test_every_change_is_audited_with_actor_and_address(console: Console) -> None:
    key = (await console.create(name="audited"))["key"]
    event = (await console.client.get("/v1/audit-events", params={"target_id": key["id"]})).json()[
        "events"
    ][0]
    assert {
        name: event[name]
        for name in ("actor_type", "action", "target_type", "outcome", "source_address")
    } == {
        "actor_type": "bootstrap",
        "action": "key.create",
        "target_type": "key",
        "outcome": "success",
        "source_address": "192.0.2.7",
    }
    assert event["details"]["name"] == "audited"


async def test_audit_cursor_of_another_filter_is_rejected(console: Console) -> None:
    for _ in range(2):
        await console.create()
    cursor = (await console.client.get("/v1/audit-events", params={"limit": 1})).json()[
        "next_cursor"
    ]
    reply = await console.client.get(
        "/v1/audit-events", params={"cursor": cursor, "outcome": "success"}
    )
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "query.cursor")


@pytest.mark.requirement("TR-11")
async def test_ndjson_export_of_the_trail_is_verified(console: Console) -> None:
    await console.create(name="Prüfung \U0001f511")
    reply = await console.client.get("/v1/audit-export")
    assert reply.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
    rows = [
        audit_row(msgspec.json.decode(line, type=AuditEventView))
        for line in reply.text.splitlines()
    ]
    assert first_break(rows) is None
    assert json.loads(reply.text.splitlines()[-1])["details"]["name"] == "Prüfung \U0001f511"
