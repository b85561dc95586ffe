"""The decision without a proxy: a worker in this process, whose functions the tests call."""

import base64
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.pool import database as login_of
from gatehouse.platform.envoy.bootstrap import (
    IN_PROGRESS,
    RELAY_CLUSTER,
    UPLOAD_CLUSTER,
    Worker,
    log_path,
)
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.settings import load
from gatehouse.platform.web import responses
from gatehouse.platform.web.application import Application
from gatehouse.services.gateway.app import Gateway as Process
from gatehouse.services.gateway.completions import PATH, Line
from gatehouse.services.gateway.decide import Decide, Forward, Result

from tests.runtime.conftest import Database
from tests.runtime.rows import core_row
from tests.runtime.services.gateway.conftest import PEPPER, Gateway, Key
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits

HOST = (b"host", b"gateway.test")


@dataclass
class Direct:
    process: Process
    keys: Gateway
    out: BytesIO

    async def decide(
        self,
        decide: Decide,
        method: str,
        target: str,
        *headers: tuple[str, str],
        body: bytes = b"",
        **more: Any,
    ) -> Result:
        fields = [HOST, *((name.encode(), value.encode()) for name, value in headers)]
        result = decide(method, target.encode(), fields, body, "127.0.0.1", "", **more)
        return result if isinstance(result, responses.Response | Forward) else await result

    async def verify(self, token: str, **members: Any) -> dict[str, Any]:
        body = json.dumps({"token": token, **members}).encode()
        result = await self.decide(self.process.decide_api, "POST", "/v1/keys/verify", body=body)
        assert isinstance(result, responses.Response)
        document: dict[str, Any] = json.loads(result.body)
        return document

    async def check(
        self, key: Key | None, path: str = "/x", *headers: tuple[str, str], method: str = "GET"
    ) -> Result:
        own = [] if key is None else [("authorization", f"Bearer {key.token}")]
        return await self.decide(
            self.process.decide_check, method, f"/cores/docs{path}", *own, *headers
        )

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        self.process.observer.publish_slow_requests()
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if line.get("request_id") == request_id]

    def forwarded(self, result: Result) -> Forward:
        assert isinstance(result, Forward), result
        return result


@pytest.fixture
async def direct(
    database: Database, module_pool: Pool, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Direct]:
    pepper = {"current": 1, "generations": {"1": base64.b64encode(PEPPER).decode()}}
    variables = {
        "ENVIRONMENT": "dev",
        "DATABASE_URL": database.app_url,
        "DATABASE_AUTH": "url",
        "PEPPER": json.dumps(pepper),
        "CORE_NETWORKS": "127.0.0.0/8",
        "TRUSTED_PROXIES": "127.0.0.0/8",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"GATEHOUSE_{name}", value)
    out, settings = BytesIO(), load()
    os.mkfifo(log_path(socket_folder, 0))
    (socket_folder / "clusters").mkdir()
    keys = Gateway(0, os.getpid(), module_pool, socket_folder)
    agent = await keys.create_key()
    columns = {"url": "'http://127.0.0.1:9/base'", "expires_at": "now() + interval '1 hour'"}
    row = core_row("ON CONFLICT DO NOTHING", **columns)
    await module_pool.execute(row, agent.id)
    observer = Observer("gateway", "info", "dev", Stream(out, batched=True), namespace="Test")
    worker, peppers = Worker("gateway", 0, socket_folder), Pepper({1: PEPPER}, 1)
    process = Process(worker, settings, peppers, login_of(settings), None, observer, Clock())
    async with Application(observer, process.start).running():
        yield Direct(process, keys, out)


def named(headers: Sequence[responses.Header]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


async def test_verification_returns_the_decision(direct: Direct) -> None:
    key = await direct.keys.create_key()
    replies = [await direct.verify(key.token, scopes=[scope]) for scope in ("cores:read", "x:y")]
    assert [reply["code"] for reply in replies] == ["VALID", "INSUFFICIENT_PERMISSIONS"]
    lines = [direct.lines(reply["request_id"]) for reply in replies]
    assert [[line["status"] for line in each] for each in lines] == [[200], [200]]


async def test_known_key_is_decided_on_without_waiting(direct: Direct) -> None:
    key = await direct.keys.create_key()
    await direct.check(key)
    headers = [HOST, (b"x-api-key", key.token.encode())]
    result = direct.process.decide_check("GET", b"/cores/docs/x", headers, b"", "127.0.0.1", "")
    assert isinstance(result, Forward)


async def test_allowed_request_has_the_changes_of_its_headers(direct: Direct) -> None:
    key = await direct.keys.create_key()
    own = [("cookie", "a=b"), ("gatehouse-key-id", "forged"), ("x-forwarded-for", "192.0.2.7")]
    result = direct.forwarded(await direct.check(key, "/y%20z?q=1", *own))
    headers = named(result.request_headers)
    assert (result.path, result.via) == (b"/base/y%20z", "")
    assert headers["gatehouse-key-id"] == key.id
    assert headers["x-forwarded-for"] == "192.0.2.7"
    assert headers["x-forwarded-prefix"] == "/cores/docs"
    assert "authorization" in {name.decode() for name in result.removed}
    assert "ratelimit" in named(result.response_headers)


@pytest.mark.parametrize(
    ("method", "headers", "via"),
    [
        ("GET", {"accept": "text/event-stream"}, RELAY_CLUSTER),
        ("POST", {"transfer-encoding": "chunked"}, UPLOAD_CLUSTER),
        ("POST", {"content-length": "12"}, ""),
    ],
)
async def test_stream_and_upload_pass_a_worker(
    direct: Direct, method: str, headers: dict[str, str], via: str
) -> None:
    key = await direct.keys.create_key()
    result = await direct.check(key, "/x", *headers.items(), method=method)
    assert direct.forwarded(result).via == via


async def test_denied_request_is_a_response_with_one_line(direct: Direct) -> None:
    result = await direct.check(None)
    assert isinstance(result, responses.Response)
    [line] = direct.lines(json.loads(result.body)["request_id"])
    assert (result.status_code, line["route"], line["status"]) == (401, PATH, 401)


async def test_request_is_in_progress_until_it_has_ended(direct: Direct) -> None:
    key = await key_with_credits(direct.keys, 1)
    result = direct.forwarded(await direct.check(key))
    completions = direct.process.completions
    line = Line("request", status=201, ms=7, before_us=900, core_us=5000)
    assert (len(completions), direct.lines(result.request_id)) == (1, [])
    completions.ended(result.request_id, Line("request", IN_PROGRESS))
    completions.ended(result.request_id, line)
    [logged] = direct.lines(result.request_id)
    assert (logged["status"], logged["ms"], len(completions)) == (201, 7, 0)
    completions.ended(result.request_id, line)
    refused = await direct.check(key)
    assert isinstance(refused, responses.Response)
    assert refused.status_code == 402


async def test_request_that_no_core_received_returns_its_credit(direct: Direct) -> None:
    key = await key_with_credits(direct.keys, 1)
    for _ in range(3):
        result = direct.forwarded(await direct.check(key))
        direct.process.completions.ended(result.request_id, Line("request", status=502, flags="UF"))
        await direct.process.completions.close()
