"""Credentials of Cores from Secrets Manager."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from tests.runtime.platform.tracing.collector import Collector
from tests.runtime.services.gateway.conftest import (
    SERVE,
    Core,
    Gateway,
    Key,
    Reply,
    running_gateway,
    trace_settings,
)
from tests.runtime.waiting import until

REGION = "eu-west-1"
PREFIX = "gatehouse/test/core-credentials/"
#: Text in the value of every credential.
CANARY = "k3y%OfTheApplication"
#: The intervals of the gateway are shorter, so that a test sees new values of a secret.
INTERVALS = (
    "from gatehouse.features.cores import credentials; credentials.RETRY_S = 0.1; "
    "from gatehouse.services.gateway import app; app.REFRESH_S = 0.1; "
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


def aws_settings(emulator: Emulator) -> dict[str, str]:
    key_id, secret = emulator.credentials
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
    }


@pytest.fixture(scope="module")
def gateway_process(
    emulator: Emulator,
    collector: Collector,
    database: Any,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[int, int, Path, str]]:
    settings = {
        "GATEHOUSE_CORE_CREDENTIALS_PREFIX": PREFIX,
        "GATEHOUSE_CORE_HEALTH_INTERVAL_S": "0.2",
        "GATEHOUSE_LOG_LEVEL": "debug",
        **aws_settings(emulator),
        **trace_settings(collector),
    }
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(database, redis_url, folder, INTERVALS + SERVE, **settings) as process:
        yield process
    log = (folder / "gateway.log").read_text()
    assert '"event":"headers removed"' in log
    assert collector.spans
    assert CANARY not in log + repr(collector.spans)


@dataclass
class Secret:
    emulator: Emulator
    core: str

    def write(self, **document: str) -> None:
        client = self.emulator.client("secretsmanager", REGION)
        name, text = PREFIX + self.core, json.dumps(document)
        try:
            client.put_secret_value(SecretId=name, SecretString=text)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, SecretString=text)

    def delete(self) -> None:
        client = self.emulator.client("secretsmanager", REGION)
        client.delete_secret(SecretId=PREFIX + self.core, ForceDeleteWithoutRecovery=True)


@dataclass
class Client:
    gateway: Gateway
    core: str
    key: Key

    async def get(self, *headers: str, path: str = "x", method: str = "GET") -> Reply:
        own = self.key.header
        return await self.gateway.request(method, f"/cores/{self.core}/{path}", own, *headers)

    async def get_until(self, status: int, core: Core | None = None, value: str = "") -> Reply:
        """Repeats a request until it has this status, and the Core received this Authorization."""
        async with asyncio.timeout(60):
            while True:
                reply = await self.get()
                received = core is None or core.last[1].get("authorization") == value
                if reply.status == status and received:
                    return reply
                await asyncio.sleep(0.01)


@asynccontextmanager
async def registered(
    gateway: Gateway, core: str, url: str, **settings: Any
) -> AsyncIterator[Client]:
    declared = {"credential_header": "Authorization", **settings}
    async with gateway.core(url, core, **declared) as key:
        yield Client(gateway, core, key)


async def test_credential_replaces_the_header_of_the_client(
    gateway: Gateway, core: Core, emulator: Emulator
) -> None:
    value = f"Bearer {CANARY}"
    Secret(emulator, "docs").write(url=core.url, value=value)
    async with registered(gateway, "docs", core.url) as client:
        for headers in (
            (),
            ("Authorization: Basic dTpw",),
            ("authorization: Digest forged", "Connection: authorization"),
            ("Gatehouse-Core-Secret: forged",),
        ):
            reply = await client.get(*headers)
            assert reply.status == 200
            fields = core.requests[-1][1]
            assert [text for name, text in fields if name == "authorization"] == [value]
            secrets = [text for name, text in fields if name == "gatehouse-core-secret"]
            assert len(secrets) == 1
            assert secrets[0].startswith("gatehouse_core_")
            assert CANARY not in str(reply)


async def test_core_names_the_header(gateway: Gateway, core: Core, emulator: Emulator) -> None:
    Secret(emulator, "named").write(url=core.url, value=CANARY, header="api-key")
    async with registered(gateway, "named", core.url, credential_header="API-Key") as client:
        own = ("api-key: own", "API_KEY: own", "X-Kept: yes", "Authorization: Basic dTpw")
        assert (await client.get(*own)).status == 200
        names = [name for name, _ in core.requests[-1][1]]
        received = core.last[1]
        assert (received["api-key"], received["x-kept"]) == (CANARY, "yes")
        assert (names.count("api-key"), "api_key" in names, "authorization" in names) == (
            1,
            False,
            False,
        )


async def test_websocket_and_health_check_have_the_credential(
    gateway: Gateway, core: Core, emulator: Emulator
) -> None:
    value = f"Bearer {CANARY}"
    Secret(emulator, "live").write(url=core.url, value=value)
    async with registered(gateway, "live", core.url, health_path="/status/204") as client:
        await until(lambda: core.requests)
        assert core.last[1]["authorization"] == value
        handshake = (
            *("GET /cores/live/socket HTTP/1.1", "Host: g", "Connection: Upgrade"),
            *("Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", client.key.header),
        )
        await gateway.send("\r\n".join((*handshake, "", "")).encode())
        (received,) = [
            dict(fields) for line, fields, _ in core.requests if line.startswith("GET /socket")
        ]
        assert received["authorization"] == value


async def test_credential_is_not_sent_to_another_url(
    gateway: Gateway, core: Core, emulator: Emulator
) -> None:
    Secret(emulator, "moved").write(url="https://api.example.com", value=CANARY)
    async with registered(gateway, "moved", core.url) as client:
        reply = await client.get()
        assert reply.outcome == (503, "unavailable")
        assert reply.header("retry-after") == "1"
        (line,) = await gateway.lines_with(request_id=reply.header("x-request-id"), status=503)
        assert "https://api.example.com" in line["detail"]
        assert core.url in line["detail"]
    assert core.requests == []


async def test_rotated_and_deleted_credential(
    gateway: Gateway, core: Core, emulator: Emulator
) -> None:
    secret = Secret(emulator, "rotated")
    secret.write(url=core.url, value=f"Bearer {CANARY}1")
    async with registered(gateway, "rotated", core.url) as client:
        assert (await client.get()).status == 200
        secret.write(url=core.url, value=f"Bearer {CANARY}2")
        await client.get_until(200, core, f"Bearer {CANARY}2")
        secret.write(url=core.url, key=CANARY)
        await client.get_until(503)
        secret.write(url=core.url, value=f"Bearer {CANARY}3")
        await client.get_until(200, core, f"Bearer {CANARY}3")
        secret.delete()
        await client.get_until(503)
        reasons = [line["reason"] for line in await gateway.lines_with(event="core credential")]
        assert f"the secret {PREFIX}rotated: ResourceNotFoundException" in reasons


async def test_last_credential_is_used_while_secrets_manager_is_unavailable(
    gateway: Gateway, core: Core, emulator: Emulator
) -> None:
    value = f"Bearer {CANARY}"
    for name in ("kept", "unknown"):
        Secret(emulator, name).write(url=core.url, value=value)
    async with registered(gateway, "kept", core.url) as client:
        assert (await client.get()).status == 200
        emulator.lost_regions.add(REGION)
        try:
            await gateway.lines_with(event="core credential", core="kept")
            assert (await client.get()).status == 200
            assert core.last[1]["authorization"] == value
            received = len(core.requests)
            async with registered(gateway, "unknown", core.url) as other:
                assert (await other.get()).status == 503
                assert len(core.requests) == received
                emulator.lost_regions.clear()
                await other.get_until(200, core, value)
        finally:
            emulator.lost_regions.clear()


async def test_credential_requires_the_setting_of_the_gateway(
    another: Any, gateway: Gateway, core: Core, emulator: Emulator
) -> None:
    document = json.dumps({"url": core.url, "value": CANARY})
    secrets = emulator.client("secretsmanager", REGION)
    secrets.create_secret(Name="bare", SecretString=document)  # the name without a prefix
    async with registered(gateway, "bare", core.url) as client:
        other = Client(another(**aws_settings(emulator)), "bare", client.key)
        assert (await other.get()).status == 503
    assert core.requests == []
