"""A token that was issued is in its answer and nowhere else: not in logs, audit rows, problems, metrics or the database."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.runtime.console.conftest import BOOTSTRAP, Console


@pytest.mark.requirement("CG-02")
async def test_an_issued_token_is_nowhere_but_in_its_answer(door: Console) -> None:
    admin = (await door.create(name="canary", scopes=["admin"]))["token"]
    reader = (await door.create(name="canary"))["token"]
    bodies = [
        (await door.client.get("/v1/keys", headers=door.as_(admin))).text,
        (await door.client.get("/v1/keys", headers=door.as_(reader))).text,
        (await door.client.get("/v1/keys", headers=door.as_(admin + "x"))).text,
        (await door.client.get(f"/v1/keys/{admin}", headers=door.as_(admin))).text,
        (await door.client.get(f"/v1/keys?{admin}=1&cursor={reader}")).text,
        (await door.client.post("/v1/keys", json={"name": [admin], "environment": reader})).text,
        (await door.client.get("/v1/audit-events?limit=500")).text,
        (await door.client.get("/metrics")).text,
        json.dumps(door.lines.kept, default=str),
        _dump(door),
    ]
    for token in (admin, reader, BOOTSTRAP):
        secret = token[-40:-6]  # beyond the id, which is public
        # A name of a member or parameter is repeated, so that a slip can be found: cut to what no token fits in.
        assert [text[:80] for text in bodies if secret in text] == []


def _dump(door: Console) -> str:
    """Everything that PostgreSQL holds, as text."""
    command = [str(door.database.server.binaries / "pg_dump"), "--inserts", door.database.owner_url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
