"""Audit trail API: filters, NDJSON and CSV export."""

import json

import msgspec
from gatehouse.core.audit_chain import first_break
from gatehouse.features.audit.schemas import AuditEventView, audit_row

from tests.runtime.console_client import Console, rejected_part


async def test_every_change_is_audited_with_actor_and_address(console: Console) -> None:
    key = (await console.create(name="audited"))["key"]
    event = (await console.events(target_id=key["id"]))[0]
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
    cursor = (await console.get("/v1/audit-events", params={"limit": 1})).json()["next_cursor"]
    reply = await console.get("/v1/audit-events", params={"cursor": cursor, "outcome": "success"})
    assert rejected_part(reply) == (400, "query.cursor")


async def test_ndjson_export_of_the_trail_is_verified(console: Console) -> None:
    await console.create(name="Prüfung \U0001f511")
    reply = await console.get("/v1/audit-export")
    assert reply.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
    rows = [
        audit_row(msgspec.json.decode(line, type=AuditEventView))
        for line in reply.text.splitlines()
    ]
    assert first_break(rows) is None
    assert json.loads(reply.text.splitlines()[-1])["details"]["name"] == "Prüfung \U0001f511"
