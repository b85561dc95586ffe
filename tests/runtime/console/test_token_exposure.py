"""Issued tokens appear in no log, audit event, problem document, metric or table."""

from __future__ import annotations

import json

import pytest
from gatehouse.crypto.token import checksum

from tests.runtime.console_client import BOOTSTRAP, Console


@pytest.mark.requirement("CG-02")
async def test_issued_token_appears_only_in_its_response(console: Console) -> None:
    admin = (await console.create(name="canary", scopes=["admin"]))["token"]
    reader = (await console.create(name="canary"))["token"]
    bodies = [
        (await console.client.get("/v1/keys", headers=console.as_(admin))).text,
        (await console.client.get("/v1/keys", headers=console.as_(reader))).text,
        (await console.client.get("/v1/keys", headers=console.as_(admin + "x"))).text,
        (await console.client.get(f"/v1/keys/{admin}", headers=console.as_(admin))).text,
        (await console.client.get(f"/v1/keys?{admin}=1&cursor={reader}")).text,
        (await console.client.post("/v1/keys", json={"name": [admin], "environment": reader})).text,
        (await console.client.get("/v1/audit-events?limit=500")).text,
        (await console.client.get("/metrics")).text,
        json.dumps(console.log.entries, default=str),
        console.database.dump(),
    ]
    for token in (admin, reader, BOOTSTRAP):
        secret = token[-40:-6]  # without the ID, which is public
        # Error messages quote names of members and parameters, truncated to less than a token.
        assert [text[:80] for text in bodies if secret in text] == []


@pytest.mark.requirement("CG-02")
@pytest.mark.parametrize(
    ("path", "body", "location"),
    [
        ("", {"name": "TOKEN"}, "body.name"),
        ("", {"name": "a", "notes": "replaces TOKEN, which leaked"}, "body.notes"),
        ("", {"name": "a", "metadata": {"old": "TOKEN"}}, "body.metadata.old"),
        ("", {"name": "a", "tags": ["x", "xTOKEN"]}, "body.tags[1]"),
        ("", {"TOKEN": 1}, "body"),
        ("/ID/disable", {"reason": "found TOKEN in a ticket"}, "body.reason"),
    ],
)
@pytest.mark.parametrize("kind", ["key", "bootstrap"])
async def test_token_in_a_text_is_rejected(
    console: Console, path: str, body: dict[str, object], location: str, kind: str
) -> None:
    created = await console.create(name="canary")
    head = "gtk_admin_" + "a" * 43
    token = created["token"] if kind == "key" else head + checksum(head)
    path = f"/v1/keys{path}".replace("ID", created["key"]["id"])
    reply = await console.client.post(path, json=json.loads(json.dumps(body).replace("TOKEN", token)))
    (problem,) = reply.json()["errors"]
    assert (reply.status_code, problem["location"]) == (400, location)
    assert problem["message"].startswith("contains the API key gtk_")
    assert token[-40:-6] not in reply.text + console.database.dump()


async def test_token_in_a_query_is_rejected(console: Console) -> None:
    token = (await console.create(name="canary"))["token"]
    reply = await console.client.get("/v1/audit-events", params={"target_id": token})
    assert (reply.status_code, token[-40:-6] in reply.text) == (400, False)
