"""Audit trail API: filters, NDJSON and CSV export."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from gatehouse.core.audit_chain import GENESIS, first_break
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


async def test_denials_share_an_audit_row_per_minute_and_address(console: Console) -> None:
    async def denied() -> int:
        page = (
            await console.client.get(
                "/v1/audit-events", params={"action": "access.denied", "limit": 200}
            )
        ).json()
        return len(page["events"])

    before = await denied()
    for _ in range(30):
        await console.client.get("/v1/keys", headers=console.as_("wrong"))
    # If a minute ends during the test, there are two windows.
    assert 1 <= await denied() - before <= 3


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


async def test_chain_is_verified_from_the_api_response(console: Console) -> None:
    await console.create()
    events = (await console.client.get("/v1/audit-events", params={"limit": 200})).json()["events"]
    rows = [audit_row(msgspec.convert(event, AuditEventView)) for event in reversed(events)]
    assert rows[0].previous_hash == GENESIS
    assert first_break(rows) is None


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


@pytest.mark.requirement("TR-11")
async def test_csv_export_contains_no_formula(console: Console) -> None:
    key_id = (await console.create())["key"]["id"]
    await console.client.post(f"/v1/keys/{key_id}/revoke", json={"reason": "=cmd()"})
    console.database.sql(
        "UPDATE audit_event SET actor_id = '=1+1', source_address = '@SUM(A1)' WHERE action = "
        "'key.revoke'"
    )
    text = (
        await console.client.get("/v1/audit-export", params={"format": "csv", "target_id": key_id})
    ).text
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    revoked = dict(zip(header, rows[-1], strict=True))
    assert (revoked["actor_id"], revoked["source_address"]) == ("'=1+1", "'@SUM(A1)")
    assert json.loads(revoked["details"]) == {"reason": "=cmd()"}
    assert len(rows) == 2
