"""The canary key at a gateway with Envoy: it is verified, a request with it reaches the Core of the
gateway, and a release that breaks this path fails the smoke test of its deployment.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import boto3
import pytest
from gatehouse.core.cores import ECHO
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import Pepper, build
from gatehouse.services.gateway import echo
from moto import mock_aws

from components import contract
from release.verify import rollout_error
from sandbox.child_processes import Child
from sandbox.ports import free_port
from tests.cases import cases
from tests.components.program import run
from tests.runtime.functions.function_loader import load
from tests.runtime.services.gateway.conftest import (
    PEPPER,
    SERVE,
    Gateway,
    gateway_environment,
    start_gateway,
)
from tests.runtime.services.gateway.test_usage import until_written, written

_CASES = cases(__file__)

ECHO_PATH = contract.read().services["gateway"].echo
SECRET = "gatehouse/dev/canary-key"
Release = Callable[..., Gateway]
smoke, probe = load("smoke"), load("probe")

#: What a release changes, as code that runs before the gateway starts.
_RELEASES: dict[str, Any] = _CASES["releases"]


@dataclass(frozen=True)
class Token:
    id: str
    text: str


def new_token() -> Token:
    pepper = Pepper({1: PEPPER}, 1)
    random = token_bytes(12), token_bytes(32)
    token = build("gtk", KeyEnvironment.TEST, *random, pepper=pepper, generation=1)
    return Token(token.id, token.text)


@pytest.fixture
def token() -> Token:
    return new_token()


@pytest.fixture
def secret(token: Token, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name=SECRET, SecretString=token.text)
        yield client


@pytest.fixture
async def released(
    database: Any, redis_url: str, tmp_path: Path, token: Token
) -> AsyncIterator[Release]:
    """Starts gateways: `released(script, GATEHOUSE_CANARY_KEY=...)`."""
    children: list[Child] = []
    pool = await asyncpg.create_pool(database.app_url, min_size=1, max_size=2)

    def start(script: str = "", **more: str) -> Gateway:
        port, log = free_port(), tmp_path / f"{len(children)}.log"
        settings = {
            "GATEHOUSE_CANARY_KEY": token.text,
            "GATEHOUSE_GATEWAY_URL": f"http://gateway.test:{port}",
            **more,
        }
        environment = gateway_environment(database.app_url, redis_url, port, **settings)
        children.append(start_gateway(environment, log, script=script + SERVE))
        return Gateway(port, children[-1].pid, pool, log)

    yield start
    for child in children:
        child.stop()
    await pool.close()


def hook_details(gateway: Gateway) -> dict[str, Any]:
    """The details of the hook in prod, with the address of the gateway."""
    inputs = run("prod").get("ecs.Service", "gateway").inputs
    (hook,) = inputs["deploymentConfiguration"]["lifecycleHooks"]
    details: dict[str, Any] = json.loads(hook["hookDetails"])
    canary = details["canary"] | {"name": SECRET}
    for row, names in (
        *((check, ("url",)) for check in details["checks"]),
        (canary, ("verify", "echo")),
    ):
        row["address"] = "127.0.0.1"
        for name in names:
            row[name] = f"http://gateway.test:{gateway.port}{urlsplit(row[name]).path}"
    return {**details, "canary": canary}


def rolled_back(gateway: Gateway) -> str:
    """Why the service does not run its new version after ECS has invoked the smoke test until it
    has decided. ECS rolls back a deployment whose hook returns FAILED. Source: ECS Developer Guide,
    "Lifecycle hooks for Amazon ECS service deployments".
    """
    details = hook_details(gateway)
    while (result := smoke.handler({"hookDetails": details}, None))["hookStatus"] == "IN_PROGRESS":
        details = result["hookDetails"]
    definition = "gateway:1" if result["hookStatus"] == "FAILED" else "gateway:2"
    primary = {"status": "PRIMARY", "taskDefinition": definition, "rolloutState": "COMPLETED"}
    return rollout_error({"deployments": [primary]}, "gateway:2")


async def test_release_that_forwards_requests_is_deployed(
    secret: Any, token: Token, released: Release
) -> None:
    """The use of the canary key is neither counted nor logged."""
    gateway = released()
    assert await asyncio.to_thread(rolled_back, gateway) == ""
    before = await written(gateway, "")
    await gateway.verify(new_token().text)
    await until_written(gateway, "", before + 1)
    assert await written(gateway, token.id) == 0
    events = await gateway.pool.fetch("SELECT * FROM audit_event WHERE target_id = $1", token.id)
    assert [event["action"] for event in events] == ["key.create"]
    assert token.text not in gateway.log.read_text() + str(events)


@pytest.mark.alarm_triggered("canary-key")
@pytest.mark.parametrize("what", _RELEASES)
def test_release_that_breaks_the_proxy_is_rolled_back(
    what: str, secret: Any, released: Release
) -> None:
    gateway = released(_RELEASES[what])
    assert rolled_back(gateway).startswith("ECS runs gateway:1 ")
    # The other checks do not see it.
    details = hook_details(gateway)
    del details["canary"]
    assert smoke.handler({"hookDetails": details}, None) == {"hookStatus": "SUCCEEDED"}


async def test_key_can_only_call_the_core_of_the_gateway(token: Token, released: Release) -> None:
    gateway = released()
    header = f"Authorization: Bearer {token.text}"
    reply = await gateway.request("POST", ECHO_PATH, header, body=b"x")
    assert (reply.status, reply.json["host"]) == (200, f"gateway.test:{gateway.port}")
    assert token.text not in reply.body.decode()
    assert "gatehouse_core_" not in reply.body.decode()
    assert (await gateway.request("GET", "/cores/docs/", header)).outcome == (403, "FORBIDDEN")
    assert (await gateway.request("GET", ECHO_PATH, header)).status == 405
    assert (await gateway.request("POST", ECHO_PATH, body=b"x")).status == 401
    large = bytes(echo.BODY_BYTES_MAX + 1)
    assert (await gateway.request("POST", ECHO_PATH, header, body=large)).status == 413
    assert (await gateway.request("POST", ECHO_PATH, header, body=large[1:])).status == 200
    assert (await gateway.request("POST", f"/cores/{ECHO}/", header, body=b"")).status == 404


async def test_rotation_revokes_the_earlier_key(token: Token, released: Release) -> None:
    second, third = new_token(), new_token()
    ids = [token.id, second.id, third.id]

    async def states() -> list[str]:
        query = "SELECT id, state FROM api_key WHERE id = ANY($1)"
        found = dict(await gateway.pool.fetch(query, ids))
        return [found.get(key_id, "") for key_id in ids]

    gateway = released()
    released(GATEHOUSE_CANARY_KEY=f"{token.text} {second.text}")
    assert await states() == ["active", "active", ""]
    often = "from gatehouse.services.gateway import app; app.MAINTAIN_S = .02\n"
    released(often, GATEHOUSE_CANARY_KEY=f"{second.text} {third.text}")
    async with asyncio.timeout(60):
        while await states() != ["revoked", "active", "active"]:
            await asyncio.sleep(0.02)


def test_without_the_proxy_the_key_is_only_verified(secret: Any, released: Release) -> None:
    gateway = released(GATEHOUSE_FEATURES="proxy=off")
    canary = hook_details(gateway)["canary"]
    assert not probe.check_canary(canary, {})
    assert probe.check_canary({**canary, "echo": ""}, {})
