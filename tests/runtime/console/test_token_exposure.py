"""Issued tokens appear in no log, audit event, problem document, metric or table."""

from __future__ import annotations

import json
import subprocess

import pytest

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
        _dump(console),
    ]
    for token in (admin, reader, BOOTSTRAP):
        secret = token[-40:-6]  # without the ID, which is public
        # Error messages quote names of members and parameters, truncated to less than a token.
        assert [text[:80] for text in bodies if secret in text] == []


def _dump(console: Console) -> str:
    """All rows of the database as text."""
    command = [str(console.database.server.binaries / "pg_dump"), "--inserts", console.database.owner_url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
