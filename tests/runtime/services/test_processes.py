"""The processes of the console and of the sharing service behind Envoy."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from gatehouse.commands.cli import retrieval_links
from gatehouse.features.secrets.models import CONTENT_JSON_BYTES_MAX, FILES_BYTES_MAX
from gatehouse.platform.settings import Settings
from gatehouse.services.console.lockout import FAILURES_MAX

from sandbox import child_processes
from sandbox.local.services import returns_200
from sandbox.ports import free_port
from tests import requires
from tests.runtime.conftest import lock_waits, locked, opened
from tests.runtime.console_client import BOOTSTRAP, session_key
from tests.runtime.features.secrets.conftest import aws
from tests.runtime.features.secrets.services import BUCKET, TABLE
from tests.runtime.services.gateway import fork_server
from tests.runtime.services.gateway.conftest import gateway_environment, log_lines
from tests.runtime.services.gateway.test_process import worker_processes
from tests.runtime.waiting import PAUSE_S

__all__ = ["aws"]

BODY_BYTES_MAX = Settings.model_fields["body_max_bytes"].default
CLIENT = "198.51.100.7"
FORWARDED = {"X-Forwarded-For": f"203.0.113.9, {CLIENT}"}
SHARING = "https://sharing.test"


@dataclass(frozen=True)
class Services:
    console: str
    sharing: str
    pid: int
    log: Path


@contextmanager
def running(
    database: Any, redis_url: str, aws: str, folder: Path, script: str = "", **more: str
) -> Iterator[Services]:
    """The services, which must stop after SIGTERM. script: runs before they start."""
    console, sharing, log = free_port(), free_port(), folder / "log"
    environment = {
        **gateway_environment(database.app_url, redis_url, 0),
        "GATEHOUSE_GATEWAY_PORT": "8080",
        "GATEHOUSE_CONSOLE_PORT": str(console),
        "GATEHOUSE_SHARING_PORT": str(sharing),
        "GATEHOUSE_CONSOLE_URL": "https://console.test",
        "GATEHOUSE_SHARING_URL": SHARING,
        "GATEHOUSE_BOOTSTRAP_TOKEN": BOOTSTRAP,
        "GATEHOUSE_SESSION_KEY": session_key({1: b"s" * 32}).get_secret_value(),
        "GATEHOUSE_SECRET_LINKS_TABLE": TABLE,
        "GATEHOUSE_SECRETS_BUCKET": BUCKET,
        "GATEHOUSE_SECRETS_KEY": aws,
        "GATEHOUSE_TRUSTED_PROXIES": "127.0.0.0/8",
        "GATEHOUSE_REQUEST_TIMEOUT_S": "1",
        **more,
    }
    child = fork_server.start(script + fork_server.script("console", "sharing"), environment, log)
    host = "http://127.0.0.1"
    found = Services(f"{host}:{console}", f"{host}:{sharing}", child.pid, log)

    def is_ready() -> bool:
        return all(returns_200(f"{url}/readyz") for url in (found.console, found.sharing))

    child_processes.wait_until(child, is_ready, "ready", 60)
    yield found
    assert child.stop(timeout_s=60) == 0, child.tail()
    assert "Traceback" not in log.read_text()
    assert len([line for line in log_lines(log) if line["event"] == "stopped"]) == 2


@pytest.fixture(scope="module")
def services(
    database: Any, redis_url: str, aws: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("services")
    with running(database, redis_url, aws, folder) as found:
        yield found


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {BOOTSTRAP}", **FORWARDED}
    async with httpx.AsyncClient(
        base_url=services.console, headers=headers, timeout=60, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def recipient(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=services.sharing, headers=FORWARDED, timeout=60, trust_env=False
    ) as client:
        yield client


async def raw(url: str, *parts: bytes) -> bytes:
    """The response to a request of which the parts after the first are sent after a response or a
    second.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    async with asyncio.timeout(60):
        for part in parts:
            writer.write(part)
        reply = await reader.read()
    writer.close()
    return reply


def test_response_instead_of_a_worker_is_named_and_logged(
    database: Any, redis_url: str, aws: str, tmp_path: Path
) -> None:
    with running(database, redis_url, aws, tmp_path) as services:
        urls = {"console": services.console, "sharing": services.sharing}
        parent = psutil.Process(services.pid)
        parent.suspend()  # replaces no worker
        for worker in worker_processes(services.pid):
            worker.kill()
        replies = {name: httpx.get(f"{url}/v1/keys", timeout=60) for name, url in urls.items()}
        parent.resume()
        for name, reply in replies.items():
            problem = reply.json()
            assert (reply.status_code, problem["code"]) == (503, "unavailable")
            assert reply.headers["retry-after"]
            assert reply.headers["x-request-id"] == problem["request_id"]
            own = {"request_id": problem["request_id"], "event": "request", "service": name}
            own |= {"status": 503}
            while not any(own.items() <= line.items() for line in log_lines(services.log)):
                time.sleep(PAUSE_S)  # Envoy writes them later
        for url in urls.values():
            while not returns_200(f"{url}/readyz"):
                time.sleep(PAUSE_S)


async def test_session_creates_a_key(services: Services, client: httpx.AsyncClient) -> None:
    begun = await client.post("/v1/sessions", json={})
    assert begun.status_code == 201, begun.text
    assert "Secure" in begun.headers["set-cookie"]
    headers = {
        "Cookie": begun.headers["set-cookie"].partition(";")[0],
        "Origin": "https://console.test",
        "X-CSRF-Token": begun.json()["csrf_token"],
    }
    del client.headers["Authorization"]
    reply = await client.post("/v1/keys", json={"name": "of a session"}, headers=headers)
    assert reply.status_code == 201, reply.text
    key = await client.get(f"/v1/keys/{reply.json()['key']['id']}", headers=headers)
    changed = {"name": "changed"}
    for etag, status in (('"0"', 412), (key.headers["etag"], 200), (key.headers["etag"], 412)):
        result = await client.patch(
            key.url.path, json=changed, headers={**headers, "If-Match": etag}
        )
        assert result.status_code == status, result.text


async def test_responses_have_the_headers_of_a_browser_and_head_has_no_body(
    client: httpx.AsyncClient, recipient: httpx.AsyncClient
) -> None:
    for each, path in ((client, "/"), (client, "/v1/keys"), (recipient, "/")):
        each.headers["Accept-Encoding"] = "identity"
        got, head = await each.get(path), await each.head(path)
        assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
        for reply in (got, head):
            assert reply.headers["strict-transport-security"].startswith("max-age=")
            assert "server" not in reply.headers
        assert head.headers["content-length"] == got.headers["content-length"]


@requires.WEB_UI
async def test_web_ui_is_compressed_but_no_secret(client: httpx.AsyncClient) -> None:
    codings = [
        (await client.get(path)).headers.get("content-encoding") for path in ("/", "/v1/keys")
    ]
    assert codings == ["gzip", None]


# Inside the trusted block, in which the load balancer is, and outside.
@pytest.mark.parametrize("address", [CLIENT, "127.0.0.1", "127.9.9.9", "128.0.0.1"])
async def test_client_cannot_choose_its_address(client: httpx.AsyncClient, address: str) -> None:
    headers = {"X-Gh-Peer": "1.1.1.1", "X-Forwarded-For": f"203.0.113.9, {address}"}
    created = await client.post("/v1/keys", json={"name": "a key"}, headers=headers)
    own = {"target_id": created.json()["key"]["id"]}
    (event,) = (await client.get("/v1/audit-events", params=own)).json()["events"]
    assert event["source_address"] == address

    statuses = []
    for number in range(FAILURES_MAX + 5):
        headers = {
            "X-Forwarded-For": f"203.0.113.{number}, {address}",
            "Authorization": f"Bearer gtk_admin_{address}",
        }
        statuses.append((await client.get("/v1/keys", headers=headers)).status_code)
    assert statuses == [401] * FAILURES_MAX + [429] * 5


async def test_largest_submission_is_received(
    client: httpx.AsyncClient, recipient: httpx.AsyncClient
) -> None:
    token = retrieval_links.create()
    document = {"purpose": "a file", "ttl_s": 3600}
    document["retrieval_link"] = retrieval_links.parameters(token)
    reply = await client.post("/v1/secret-requests", json=document)
    assert reply.status_code == 201, reply.text
    link = reply.json()["submission_link"]
    for size, status in ((FILES_BYTES_MAX + 1, 400), (FILES_BYTES_MAX, 200)):
        fields = {"link": link}
        submitted = await recipient.post(
            "/v1/requests/submit", data=fields, files={"file": ("a", b"a" * size)}
        )
        assert submitted.status_code == status, submitted.text


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_body_above_the_limit_is_413(client: httpx.AsyncClient, is_chunked: bool) -> None:
    async def parts(content: bytes) -> AsyncIterator[bytes]:
        yield content[:1000]
        yield content[1000:]

    headers = {"Content-Type": "application/json"}
    for path, maximum in (
        ("/v1/keys", BODY_BYTES_MAX),
        ("/v1/secrets", BODY_BYTES_MAX + CONTENT_JSON_BYTES_MAX),
    ):
        for size, status in ((maximum, 400), (maximum + 1, 413)):
            content = json.dumps({"x": ""}).encode().ljust(size)
            reply = await client.post(
                path, content=parts(content) if is_chunked else content, headers=headers
            )
            assert reply.status_code == status, reply.text
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json()["code"] == ("body_too_large" if status == 413 else "bad_request")


async def test_unauthorized_body_is_refused_before_it_is_received(services: Services) -> None:
    head = "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\nContent-Type: {}\r\n\r\n"
    secret = head.format("/v1/secrets", "application/json").encode()
    assert (await raw(services.console, secret, b"{")).startswith(b"HTTP/1.1 401 ")
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("link", f"{SHARING}/r/{'0' * 22}#{'0' * 43}"), ("text", "a"))
    )
    form = head.format("/v1/requests/submit", "multipart/form-data; boundary=x").encode()
    reply = await raw(services.sharing, form, fields.encode())
    assert re.match(rb"HTTP/1.1 40[04] ", reply), reply


async def test_headers_that_arrive_slowly_are_408(services: Services) -> None:
    for url in (services.console, services.sharing):
        reply = await raw(url, b"GET / HTTP/1.1\r\n")
        assert reply.startswith(b"HTTP/1.1 408 "), reply
        assert b"application/problem+json" in reply


async def test_request_that_does_not_end_does_not_prevent_the_stop(
    database: Any, redis_url: str, aws: str, tmp_path: Path
) -> None:
    async with locked(database, "usage_count"), opened(database.app) as pool:
        with running(database, redis_url, aws, tmp_path, GATEHOUSE_STOP_TIMEOUT_S="1") as found:
            headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
            client = httpx.AsyncClient(timeout=60, trust_env=False, headers=headers)
            waiting = asyncio.create_task(client.get(f"{found.console}/v1/usage"))
            async with asyncio.timeout(60):
                while not await lock_waits(pool):
                    await asyncio.sleep(0.005)
        with pytest.raises(httpx.HTTPError):
            await waiting
        await client.aclose()
