"""Waits for AWS, memory and clients end."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.features.secrets import backend, encryption, table
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import ContentItem
from gatehouse.platform import semaphores
from gatehouse.platform.observability import Observer, Stream
from gatehouse.services.sharing import app as sharing_app
from gatehouse.services.sharing import submitters

from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import BUCKET, ORIGIN, TABLE, TEXT, Sharing, of_backend
from tests.runtime.services.sharing.readers import OPENING, in_container
from tests.runtime.silent_servers import full_server, silent_server
from tests.runtime.waiting import until

PASSPHRASE = "a long passphrase"
PATIENCE_S = 60
Server = Callable[[], AbstractContextManager[int]]


@asynccontextmanager
async def client_of(sharing: Sharing) -> AsyncIterator[httpx.AsyncClient]:
    async with sharing.client() as client, asyncio.timeout(PATIENCE_S):
        yield client


def without(
    sharing: Sharing, dependency: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> Sharing:
    """The services with a client of this dependency at the port, which makes one attempt."""
    with monkeypatch.context() as context:
        context.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        context.setattr(backend, "_ATTEMPTS", 1)
        context.setattr(table, "_ATTEMPTS", 1)
        changes: dict[str, Any] = {
            "DynamoDB": lambda: {"table": table.Table(TABLE)},
            "KMS": lambda: {"data_keys": backend.DataKeys("key", "test")},
            "S3": lambda: {"content": backend.ContentStore(BUCKET)},
        }
        changed = replace(sharing.backend, **changes[dependency]())
    return of_backend(changed, sharing.clock, sharing.s3, sharing.dynamodb)


async def submission(client: httpx.AsyncClient, sharing: Sharing) -> asyncio.Task[httpx.Response]:
    _, token, _ = await request(sharing)
    return asyncio.create_task(
        client.post(
            "/v1/requests/submit", files={"link": (None, token.url(ORIGIN)), "text": (None, "text")}
        )
    )


def scope_of(path: str, content_type: bytes) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", content_type)],
        "client": ("192.0.2.7", 4711),
    }


async def send(message: Any) -> None:
    """Ignore a part of a response."""


@pytest.mark.parametrize(
    ("dependency", "server", "module", "bound", "error"),
    [
        ("DynamoDB", silent_server, table, "_TIMEOUT_S", "ReadTimeoutError"),
        ("KMS", silent_server, backend, "_TIMEOUT_S", "ReadTimeoutError"),
        ("S3", full_server, backend, "_TIMEOUT_S", "ConnectTimeoutError"),
        ("S3", silent_server, backend, "_READ_TIMEOUT_S", "ReadTimeoutError"),
    ],
)
async def test_aws_service_that_does_not_respond_is_unavailable(
    sharing: Sharing,
    monkeypatch: pytest.MonkeyPatch,
    dependency: str,
    server: Server,
    module: Any,
    bound: str,
    error: str,
) -> None:
    monkeypatch.setattr(module, bound, 0.1)
    with server() as port:
        waiting = without(sharing, dependency, port, monkeypatch)
        async with client_of(waiting) as client:
            reply = await (await submission(client, sharing))
        assert (reply.status_code, reply.json()["code"]) == (503, "unavailable")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Unavailable) as raised:
                await waiting.create()
    assert raised.value.detail == f"{dependency} {error}"


async def test_page_that_is_not_ready_in_time_can_be_reloaded(
    sharing: Sharing, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_app, "FUNCTION_S", 0.1)
    monkeypatch.setattr(backend, "_READ_TIMEOUT_S", 600.0)
    _, [token] = await sharing.create()
    message = OPENING["/s/{link}"](token, "a" * 32)
    async with asyncio.timeout(PATIENCE_S):
        waiting = without(sharing, "S3", silent_port, monkeypatch)
        reply = await in_container(waiting.app(is_function=True), message)
        assert (reply.status_code, "Reload this page" in reply.text) == (503, True)
        assert TEXT.decode() in (await in_container(sharing.app(), message)).text


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/links/open", b"application/json"),
        ("/v1/requests/submit", b"multipart/form-data; boundary=X"),
    ],
)
async def test_client_that_leaves_before_its_body_is_complete_is_no_error(
    sharing: Sharing, path: str, content_type: bytes
) -> None:
    log = io.BytesIO()
    app = sharing.app(observer=Observer("sharing", "info", "test", Stream(log)))
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"--", "more_body": True},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    await app(scope_of(path, content_type), receive, send)
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["status"], line["detail"]) == (499, "client disconnected")


async def test_submissions_to_one_request_leave_memory_for_others(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semaphores, "WAIT_S", 0.1)
    _, token, _ = await request(sharing)
    _, other, _ = await request(sharing)
    reading = asyncio.Semaphore(0)
    complete = asyncio.Event()

    async def body(token: LinkToken) -> AsyncIterator[bytes]:
        part = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}'
        yield part.format("link", "", f"{token.url(ORIGIN)}\r\n").encode()
        yield part.format("file", '; filename="a"', "").encode()
        reading.release()
        await complete.wait()
        yield b"content\r\n--b--\r\n"

    async with client_of(sharing) as client:

        async def send(token: LinkToken) -> int:
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            path = "/v1/requests/submit"
            return (await client.post(path, content=body(token), headers=headers)).status_code

        first = [asyncio.create_task(send(token)) for _ in range(submitters.LINK_MAX)]
        for _ in first:
            await reading.acquire()
        assert await send(token) == 429
        others = asyncio.create_task(send(other))
        await reading.acquire()
        complete.set()
        assert await others == 200
        assert sorted(await asyncio.gather(*first)) == [200, 404]  # one submission is received
        assert await send(token) == 404


@dataclass
class SlowKeys:
    """Computations of the keys of passphrases, which end after `complete` is set.

    started: their salts, which the links of a secret share.
    """

    key: Callable[..., bytes] = encryption.passphrase_key
    started: list[bytes] = field(default_factory=list)
    complete: threading.Event = field(default_factory=threading.Event)

    def compute(self, passphrase: str, salt: bytes) -> bytes:
        self.started.append(salt)
        assert self.complete.wait(PATIENCE_S)
        return self.key(passphrase, salt)


async def _open(client: httpx.AsyncClient, token: LinkToken) -> httpx.Response:
    return await client.post(
        "/v1/links/open", json={"link": token.url(ORIGIN), "passphrase": PASSPHRASE}
    )


async def test_passphrase_checks_wait_for_memory(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE, uses=10)
    monkeypatch.setattr(semaphores, "WAIT_S", 0.1)
    slow = SlowKeys()
    monkeypatch.setattr(encryption, "passphrase_key", slow.compute)
    waiting = of_backend(sharing.backend, sharing.clock, sharing.s3, sharing.dynamodb)
    async with client_of(waiting) as client:
        opening = [
            asyncio.create_task(_open(client, token)) for _ in range(backend.ARGON2_PARALLEL)
        ]
        await until(lambda: len(slow.started) >= backend.ARGON2_PARALLEL)
        assert (await _open(client, token)).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        with pytest.raises(Unavailable):
            await waiting.create(passphrase=PASSPHRASE)
        slow.complete.set()
        assert {reply.status_code for reply in await asyncio.gather(*opening)} == {200}
    assert len(slow.started) == backend.ARGON2_PARALLEL


async def test_contents_that_are_read_wait_for_memory(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [token] = await sharing.create(uses=10)
    opened = await sharing.open(token)
    started, complete = list[str](), asyncio.Event()

    async def slow(_: object, item: ContentItem) -> None:
        started.append(item.key)
        await complete.wait()

    monkeypatch.setattr(backend.ContentStore, "read", slow)
    count = backend.READS_PARALLEL + 1
    reading = [asyncio.create_task(sharing.text(opened)) for _ in range(count)]
    await until(lambda: len(started) >= backend.READS_PARALLEL)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(started) == backend.READS_PARALLEL
    complete.set()
    await asyncio.gather(*reading, return_exceptions=True)
    assert len(started) == count
