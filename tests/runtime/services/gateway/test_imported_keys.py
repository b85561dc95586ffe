"""Imported keys at a running gateway, used with their original tokens."""

import asyncio
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.commands.cli.conftest import Command, Result, importer_command
from tests.runtime.services.gateway.conftest import PEPPER, Gateway
from tests.runtime.services.gateway.test_core_settings import basic


@dataclass(frozen=True)
class Importer:
    command: Command

    async def run(self, content: Any, name: str = "api_keys.json", *options: str) -> Result:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.command.folder / name).write_text(text)
        # In a thread, because the command runs its own event loop.
        done = await asyncio.to_thread(self.command.run, "import", name, *options)
        assert done.code == 0, done.err
        return done


@pytest.fixture
def importer(tmp_path: Path, database: Any) -> Importer:
    return Importer(importer_command(tmp_path, database.app_url, PEPPER))


async def test_key_of_api_keys_json_is_valid(gateway: Gateway, importer: Importer) -> None:
    token = secrets.token_urlsafe(24)
    assert await gateway.code(token) == "NOT_FOUND"
    await importer.run(
        {
            token: {
                "name": "nightly",
                "owner": "billing",
                "created": "2024-01-02T03:04:05",
                "rate_limit": 50,
            }
        }
    )
    result = (await gateway.verify(token, scopes=["cores:read"])).json
    assert (
        result["valid"],
        result["name"],
        result["customer_id"],
        result["limits"][0]["limit"],
    ) == (True, "nightly", "billing", 50)
    assert await gateway.code(token + "x") == "NOT_FOUND"


async def test_imported_disabled_and_expired_keys_are_denied(
    gateway: Gateway, importer: Importer
) -> None:
    off, over = secrets.token_urlsafe(20), secrets.token_urlsafe(20)
    await importer.run({off: {"active": False}, over: {"expires_at": 1_600_000_000}})
    assert await gateway.code(off) == "DISABLED"
    assert await gateway.code(over) == "EXPIRED"


async def test_imported_key_can_be_self_revoked(gateway: Gateway, importer: Importer) -> None:
    token = secrets.token_urlsafe(24)
    await importer.run({token: {}})
    assert (await gateway.post("/v1/keys/revoke-self", {"token": token})).status == 200
    assert await gateway.code(token) == "NOT_FOUND"


async def test_imported_token_is_not_forwarded_in_authorization(
    gateway: Gateway, importer: Importer, core: Any
) -> None:
    token, other = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    await importer.run({token: {}})
    async with gateway.core(core.url, "own", forward_authorization=True) as key:
        for text in (f"Bearer {token}", token, basic(token), basic("", user=token)):
            header = f"Authorization: {text.removeprefix('Authorization: ')}"
            assert (await gateway.get("/cores/own/file", key.header, header)).status == 200
            assert "authorization" not in core.last[1]
        reply = await gateway.get("/cores/own/file", key.header, f"Authorization: Bearer {other}")
        assert (reply.status, core.last[1]["authorization"]) == (200, f"Bearer {other}")


async def test_imported_core_is_served_until_it_registers(
    gateway: Gateway, importer: Importer, core: Any
) -> None:
    token = secrets.token_urlsafe(24)
    await importer.run({token: {"name": "old core", "scopes": ["cores:read", "cores:register"]}})
    await importer.run({token: core.url}, "ngrok_urls.json", "--cores")
    key_id = (await gateway.verify(token)).json["key_id"]
    path = f"/cores/core-{key_id[:8].lower()}/file"
    async with asyncio.timeout(60):  # until Envoy has read the cluster of the Core
        while (await gateway.get(path, f"X-API-Key: {token}")).status == 503:
            await asyncio.sleep(0.005)
    reply = await gateway.get(path, f"X-API-Key: {token}")
    assert (reply.status, reply.body) == (200, b"hello")
