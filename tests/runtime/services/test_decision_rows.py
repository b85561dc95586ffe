"""A row that is added to the decision applies wherever a key is used. The rows of the decision are
tested in tests/runtime/core/test_decision.py.
"""

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from gatehouse.core import decision
from gatehouse.core.verification import Code

from tests.runtime.console_client import Console
from tests.runtime.services.gateway.conftest import SERVE, Core, Gateway, core, running_gateway

__all__ = ["core"]

SCRIPT = """
from gatehouse.core import decision
from gatehouse.core.verification import Code
is_allowed = lambda record, *_: record.name != "blocked"
row = decision.Row("not blocked", "Blocked", Code.FORBIDDEN, is_allowed, lambda *_: "")
decision.ROWS += (row,)
"""


async def test_row_applies_to_the_console(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [
        await console.create(scopes=["role:auditor"], name=name) for name in ("team-a", "blocked")
    ]
    row = decision.Row(
        "not blocked",
        "Blocked",
        Code.FORBIDDEN,
        lambda record, *_: record.name != "blocked",
        lambda *_: "",
    )
    monkeypatch.setattr(decision, "ROWS", (*decision.ROWS, row))
    for key, status, code in zip(keys, (200, 401), ("VALID", "FORBIDDEN"), strict=True):
        reply = await console.get("/v1/keys", headers=console.as_(key["token"]))
        assert reply.status_code == status
        explained = await console.post(f"/v1/keys/{key['key']['id']}/explain", json={})
        assert explained.json()["code"] == code


async def test_row_applies_to_a_running_gateway(
    database: Any, redis_url: str, tmp_path: Path, core: Core
) -> None:
    with running_gateway(database, redis_url, tmp_path, SCRIPT + SERVE) as (port, pid, log, url):
        async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
            gateway = Gateway(port, pid, pool, log)
            await gateway.register(core.url)
            for name, code, status in (("team-a", "VALID", 200), ("blocked", "FORBIDDEN", 403)):
                key = await gateway.create_key(name=name)
                assert (await gateway.verify(key.token)).json["code"] == code
                for path in ("/v1/keys/verify", "/cores/docs/", "/cores/docs/"):
                    assert (await gateway.get(path, key.bearer)).status == status
