"""Cores at the console: list of Cores, and removal of a registration."""

from __future__ import annotations

import pytest

from tests.runtime.console_client import Console


async def register(console: Console, name: str) -> str:
    """Inserts a registration as a gateway does, and returns the ID of its key."""
    key_id: str = (await console.create(name="agent"))["key"]["id"]
    console.database.sql(
        "INSERT INTO core (name, url, environment, registered_by, lease_id, pepper_generation, expires_at)"  # noqa: S608
        f" VALUES ('{name}', 'https://core.example', 'test', '{key_id}', 'lease', 1, now() + interval '1 minute')"
    )
    return key_id


@pytest.mark.requirement("CG-03")
async def test_operator_ends_a_registration(console: Console) -> None:
    key_id = await register(console, "docs")
    operator = (await console.create(name="operator", scopes=["role:operator"]))["token"]
    assert (await console.client.delete("/v1/cores/docs", headers=console.as_(operator))).status_code == 204
    (core,) = (core for core in (await console.client.get("/v1/cores")).json()["cores"] if core["name"] == "docs")
    assert (core["draining"], core["live"]) == (True, False)
    events = (await console.client.get("/v1/audit-events", params={"action": "core.drain"})).json()["events"]
    assert (events[0]["target_id"], events[0]["details"]) == (
        "docs",
        {"instance_ids": ["default"], "registered_by": [key_id]},
    )
    reply = await console.client.delete("/v1/cores/docs")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["unknown", "No-Name", "a%00b", "x" * 300])
async def test_unknown_core_is_404(console: Console, name: str) -> None:
    reply = await console.client.delete(f"/v1/cores/{name}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
