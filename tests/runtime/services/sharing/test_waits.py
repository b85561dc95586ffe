"""Waits for AWS, memory and clients end."""

import asyncio
import io
import json
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import httpx
import msgspec
import pytest
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Unavailable
from gatehouse.features.secrets import backend, encryption, table
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.links import WrongPassphrase
from gatehouse.features.secrets.models import Client, ContentItem, Secret
from gatehouse.features.secrets.schemas import CreateSecret
from gatehouse.platform import aws, executions
from gatehouse.platform.executions import CallSubjects
from gatehouse.platform.http import request as http_request
from gatehouse.platform.observability import Observer, Stream
from gatehouse.services.sharing import app as sharing_app
from gatehouse.services.sharing import submitters

from tests.runtime.features.requests.test_service import request
from tests.runtime.features.secrets.aws_calls import counted
from tests.runtime.features.secrets.services import (
    ACTOR,
    BUCKET,
    ORIGIN,
    TABLE,
    TEXT,
    Sharing,
    of_backend,
)
from tests.runtime.services.sharing.readers import OPENING, in_container
from tests.runtime.silent_servers import full_server, silent_server
from tests.runtime.waiting import until

pytestmark = pytest.mark.requirement("TR-12")
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
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", content_type)],
        "client": ("192.0.2.7", 4711),
    }


async def send(message: Any) -> None:
    """Ignore a part of a response."""


@pytest.mark.bound(
    "secrets.backend:_TIMEOUT_S", "secrets.backend:_READ_TIMEOUT_S", "secrets.table:_TIMEOUT_S"
)
@pytest.mark.parametrize(
    ("dependency", "server", "module", "bound", "error"),
    [
        ("DynamoDB", full_server, table, "_TIMEOUT_S", "ConnectTimeoutError"),
        ("DynamoDB", silent_server, table, "_TIMEOUT_S", "ReadTimeoutError"),
        ("KMS", full_server, backend, "_TIMEOUT_S", "ConnectTimeoutError"),
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


@pytest.mark.bound("sharing.app:FUNCTION_S")
@pytest.mark.parametrize("dependency", ["S3", "KMS", "DynamoDB"])
async def test_page_that_is_not_ready_in_time_can_be_reloaded(
    sharing: Sharing, silent_port: int, monkeypatch: pytest.MonkeyPatch, dependency: str
) -> None:
    monkeypatch.setattr(sharing_app, "FUNCTION_S", 0.1)
    for module, bound in (
        (backend, "_READ_TIMEOUT_S"),
        (backend, "_TIMEOUT_S"),
        (table, "_TIMEOUT_S"),
    ):
        monkeypatch.setattr(module, bound, 600.0)
    _, [token] = await sharing.create()
    message = OPENING["/s/{link}"](token, "a" * 32)
    async with asyncio.timeout(PATIENCE_S):
        waiting = without(sharing, dependency, silent_port, monkeypatch)
        reply = await in_container(waiting.app(is_function=True), message)
        assert (reply.status_code, "Reload this page" in reply.text) == (503, True)
        assert TEXT.decode() in (await in_container(sharing.app(), message)).text


@pytest.mark.bound("secrets.table:_PROBE_TIMEOUT_S")
async def test_readiness_does_not_wait_for_a_silent_table(
    silent_port: int, monkeypatch: pytest.MonkeyPatch, aws: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent_port}")
    monkeypatch.setattr(table, "_PROBE_TIMEOUT_S", 0.1)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable) as raised:
            await table.Table(TABLE).check()
    assert raised.value.detail == "DynamoDB ReadTimeoutError"


async def test_health_is_served_while_a_request_waits_for_aws(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_TIMEOUT_S", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        async with client_of(
            without(sharing, "DynamoDB", silent.getsockname()[1], monkeypatch)
        ) as client:
            waiting = await submission(client, sharing)
            connection, _ = await asyncio.get_running_loop().sock_accept(silent)
            for _ in range(5):
                assert (await client.get("/healthz")).status_code == 200
            assert not waiting.done()
            connection.close()
            assert (await waiting).status_code == 503


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


@pytest.mark.bound("sharing.submitters:_LINK_PARALLEL")
async def test_submissions_to_one_request_leave_memory_for_others(sharing: Sharing) -> None:
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

        first = [asyncio.create_task(send(token)) for _ in range(submitters._LINK_PARALLEL)]
        for _ in first:
            await reading.acquire()
        assert await send(token) == 429
        others = asyncio.create_task(send(other))
        await reading.acquire()
        complete.set()
        assert await others == 200
        assert sorted(await asyncio.gather(*first)) == [200, 404]  # one submission is received
        assert await send(token) == 404


@pytest.mark.bound(
    "http.request:DISCARDS_MAX", "http.request:NETWORK_DISCARDS_MAX", "http.request:DISCARD_PAUSE_S"
)
async def test_rejected_forms_do_not_occupy_the_service(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_request, "DISCARD_PAUSE_S", PATIENCE_S)
    _, token, _ = await request(sharing)
    file = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(
        100_000
    )
    app = sharing.app()
    reading, leaves = asyncio.Semaphore(0), asyncio.Event()

    async def submit(network: int) -> None:
        messages = [{"type": "http.request", "body": bytes(file), "more_body": True}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            reading.release()
            await leaves.wait()
            return {"type": "http.disconnect"}

        scope = scope_of(f"/r/{token.path}", b"multipart/form-data; boundary=X")
        await app({**scope, "client": (f"192.0.2.{network}", 1)}, receive, send)

    each, waiting = http_request.NETWORK_DISCARDS_MAX, list[asyncio.Task[None]]()
    async with asyncio.timeout(PATIENCE_S):
        for network in range(http_request.DISCARDS_MAX // each):
            waiting += [asyncio.create_task(submit(network)) for _ in range(each)]
            for _ in range(each):
                await reading.acquire()
            await submit(network)  # is answered although the client has not sent the rest
        await submit(99)
        leaves.set()
        await asyncio.gather(*waiting)


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


def salt_of(secret: Secret) -> bytes:
    [salt] = {link.salt for link in secret.links.values()}
    return salt


@pytest.mark.bound("secrets.backend:ARGON2_PARALLEL", "platform.executions:SLOT_TIMEOUT_S")
async def test_passphrase_checks_wait_for_memory(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [
        await sharing.create(passphrase=PASSPHRASE, uses=10, recipients=["a", "b"], owner=owner)
        for owner in ("key:1", "key:2", "key:3")
    ]
    (first_link, other_link), (another_owner, _), (token, _) = (links for _, links in secrets)
    monkeypatch.setattr(executions, "SLOT_TIMEOUT_S", 0.1)
    slow = SlowKeys()
    monkeypatch.setattr(encryption, "passphrase_key", slow.compute)
    waiting = of_backend(sharing.backend, sharing.clock, sharing.s3, sharing.dynamodb)
    second, third = (waiting.client(address=address) for address in ("203.0.113.7", "192.0.2.7"))
    async with client_of(waiting) as client, second, third:
        opened = [*[(client, first_link)] * 4, (second, other_link), (third, another_owner)]
        first = [asyncio.create_task(_open(*each)) for each in opened]
        await until(lambda: len(slow.started) >= backend.ARGON2_PARALLEL)
        assert {*slow.started} == {salt_of(secret) for secret, _ in secrets[:2]}
        first.append(asyncio.create_task(_open(client, token)))
        further = asyncio.create_task(_open(client, token))
        for _ in range(5):
            assert (await client.get("/healthz")).status_code == 200
        replies = [await further, *[await _open(client, token) for _ in range(5)]]
        assert [reply.status_code for reply in replies] == [503] * 6
        with pytest.raises(Unavailable):
            await waiting.create(passphrase=PASSPHRASE)
        assert len(slow.started) == backend.ARGON2_PARALLEL
        slow.complete.set()
        statuses = Counter(reply.status_code for reply in await asyncio.gather(*first))
        assert statuses == {200: 2, 503: 5}


@pytest.mark.parametrize(("owner", "place"), [("key:1", 3), ("key:2", 2)])
async def test_passphrases_of_owners_and_links_take_turns(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, owner: str, place: int
) -> None:
    _, [link] = await sharing.create(passphrase=PASSPHRASE, uses=6, owner="key:1")
    other, [other_link] = await sharing.create(passphrase=PASSPHRASE, owner=owner)
    slow = SlowKeys()
    monkeypatch.setattr(encryption, "passphrase_key", slow.compute)

    def waiting() -> int:
        return sum(map(len, sharing.backend.argon2._waiting.values()))

    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
        opening = list[asyncio.Task[httpx.Response]]()
        for each, network in (*((link, number) for number in range(6)), (other_link, 5)):
            client = sharing.client(address=f"10.0.{network}.7")
            opening.append(
                asyncio.create_task(_open(await stack.enter_async_context(client), each))
            )
            await until(lambda: waiting() + len(slow.started) == len(opening))
        slow.complete.set()
        assert {reply.status_code for reply in await asyncio.gather(*opening)} == {200}
    assert salt_of(other) in slow.started[:place]


async def test_new_passphrases_of_a_network_leave_memory_to_others(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowKeys()
    monkeypatch.setattr(encryption, "passphrase_key", slow.compute)
    sharing = of_backend(sharing.backend, sharing.clock, sharing.s3, sharing.dynamodb)
    actors = [
        Actor("key", str(number), source_address=address)
        for number, address in enumerate((*["198.51.100.7"] * 3, "203.0.113.7"))
    ]
    new = CreateSecret(text="x", passphrase=PASSPHRASE, recipients=["a", "b"])
    creating = [
        asyncio.create_task(sharing.secrets.create(new, actor.label, actor)) for actor in actors
    ]
    await until(lambda: len(slow.started) >= backend.ARGON2_PARALLEL)
    slow.complete.set()
    *_, (secret, _) = await asyncio.gather(*creating)
    assert salt_of(secret) in slow.started[: backend.ARGON2_PARALLEL]
    assert len(slow.started) == len(actors)  # once each


async def _open(client: httpx.AsyncClient, token: LinkToken) -> httpx.Response:
    return await client.post(
        "/v1/links/open", json={"link": token.url(ORIGIN), "passphrase": PASSPHRASE}
    )


@pytest.mark.bound("secrets.backend:READS_PARALLEL")
@pytest.mark.parametrize("subject", ["owner", "network"])
async def test_contents_that_are_read_wait_for_memory(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    share = backend.READS_PARALLEL // 2
    subjects = [number for number in range(3) for _ in range(share + 1)]
    owners, networks = subjects, [*range(len(subjects))]
    if subject == "network":
        owners, networks = networks, owners
    secrets = [await sharing.create(owner=f"key:{number}") for number in owners]
    opened = [
        await sharing.open(token, client=Client(f"10.0.{number}.7", RequestId("req_1")))
        for (_, [token]), number in zip(secrets, networks, strict=True)
    ]
    started, complete = list[str](), asyncio.Event()

    async def slow(_: object, item: ContentItem) -> None:
        started.append(item.key)
        await complete.wait()

    monkeypatch.setattr(backend.ContentStore, "read", slow)
    reading = [asyncio.create_task(sharing.text(each)) for each in opened]
    await until(lambda: len(started) >= backend.READS_PARALLEL)
    ids = [secret.id for secret, _ in secrets]
    reading_subjects = Counter(subjects[ids.index(key.split("/")[1])] for key in started)
    assert reading_subjects == {0: share, 1: share}
    complete.set()
    await asyncio.gather(*reading, return_exceptions=True)


async def test_requests_with_a_link_do_not_delay_those_with_other_links(sharing: Sharing) -> None:
    secret, tokens = await sharing.create(recipients=["a", "b"], uses=2)
    opened = [await sharing.open(token) for token in tokens]
    ended: list[int] = []

    async def change(number: int) -> None:
        executions.call_subjects.set(CallSubjects((tokens[number].link_id, secret.owner)))
        event = sharing.backend.event(ACTOR, AuditAction.LINK_ACKNOWLEDGE, secret.id)
        changed = partial(msgspec.structs.replace, sender=f"{number}")
        await sharing.backend.table.change(secret, event, changed)
        ended.append(number)

    async def read(number: int) -> None:
        await sharing.text(opened[number])
        ended.append(number)

    for work, before in ((change, 2), (read, 2 * backend.READS_PARALLEL)):
        ended.clear()
        await asyncio.gather(*[work(0) for _ in range(12)], work(1))
        assert ended.index(1) <= before


async def test_calls_for_clients_count_for_their_address_link_and_owner(sharing: Sharing) -> None:
    secret, (link,) = await sharing.create(uses=9, passphrase=PASSPHRASE)

    async def calls(token: LinkToken, passphrase: str) -> list[tuple[str, ...]]:
        with counted() as subjects, suppress(LinkNotFound, WrongPassphrase):
            client = Client("198.51.100.7", RequestId("req_1"))
            opened = await sharing.links.open(token, passphrase, "claim", client)
            await sharing.links.read(opened, *opened.items)
        return subjects

    unknown, wrong = LinkToken.create("b" * 28), LinkToken.create(link.path)
    for attempt in ((unknown, ""), (wrong, PASSPHRASE), (link, "wrong"), (link, PASSPHRASE)):
        subjects = await asyncio.create_task(calls(*attempt))
        first, *others = subjects
        of_client = ("198.51.100.7", "198.51.100.0/24")
        assert first == of_client
        of_owner = (f"{secret.id} {link.link_id}", secret.owner) * (attempt[0] is link)
        assert {*others} == {(*of_client, *of_owner)}


async def test_changes_of_a_client_wait_for_a_limited_time(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = await sharing.create()
    event = sharing.backend.event(ACTOR, AuditAction.LINK_ACKNOWLEDGE, secret.id)

    async def change() -> None:
        changed = partial(msgspec.structs.replace, sender="b")
        await sharing.backend.table.change(secret, event, changed)

    async def wait(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(table.Table, "update", wait)
    monkeypatch.setattr(executions, "SLOT_TIMEOUT_S", 0.01)
    first = asyncio.create_task(change())
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable):
            await asyncio.gather(change())
    first.cancel()


async def test_request_calls_for_no_client_of_an_earlier_request(sharing: Sharing) -> None:
    executions.call_subjects.set(CallSubjects(("192.0.2.7",), have_turn=True))
    async with client_of(sharing) as client:
        with counted() as subjects:
            assert (await client.get("/readyz")).status_code == 200
    assert {*subjects} == {()}


@dataclass
class SlowCalls:
    is_slow: Callable[[CallSubjects], bool]
    started: int = 0
    complete: threading.Event = field(default_factory=threading.Event)
    submit: Callable[..., Any] = aws._threads.submit

    def start(self, operation: Any, **arguments: Any) -> Any:
        if not self.is_slow(executions.call_subjects.get()):
            return self.submit(operation, **arguments)
        self.started += 1
        return self.submit(self.wait, operation, **arguments)

    def wait(self, operation: Any, **arguments: Any) -> Any:
        assert self.complete.wait(PATIENCE_S)
        return operation(**arguments)


async def test_clients_that_wait_for_calls_hold_no_locks(sharing: Sharing) -> None:
    secret, (link,) = await sharing.create(uses=9)
    near, far = (Client(address, RequestId("req_1")) for address in ("192.0.2.7", "198.51.100.7"))
    opened = await sharing.links.open(link, "", "claim", near)
    calls = SlowCalls(lambda subjects: subjects == CallSubjects(near.subjects))
    with patch.object(aws._threads, "submit", calls.start):
        lookups = [
            asyncio.create_task(sharing.links.look_up(link, near)) for _ in range(aws.CALLS_MAX)
        ]
        await until(lambda: calls.started == aws.CALLS_MAX // 2)
        event = sharing.backend.event(ACTOR, AuditAction.SECRET_PURGE, secret.id)
        changed = partial(msgspec.structs.replace, sender="b")

        async def change() -> None:
            executions.call_subjects.set(CallSubjects(near.subjects))
            await sharing.backend.table.change(secret, event, changed)

        changing = asyncio.create_task(change())
        async with asyncio.timeout(PATIENCE_S):
            await sharing.links.read(opened, *opened.items)
            await sharing.links.open(link, "", "other", far)
        calls.complete.set()
        await asyncio.gather(*lookups, changing)


async def test_contents_are_read_while_calls_of_others_wait(sharing: Sharing) -> None:
    _, (link,) = await sharing.create(uses=9)
    count = 2 * aws.CALLS_MAX
    clients = [Client(f"10.0.{number}.7", RequestId("req_1")) for number in range(count)]
    opened = await sharing.links.open(link, "", "claim", clients[0])
    calls = SlowCalls(lambda subjects: not subjects.have_slot)
    with patch.object(aws._threads, "submit", calls.start):
        lookups = [asyncio.create_task(sharing.links.look_up(link, each)) for each in clients]
        await until(lambda: calls.started == aws.CALLS_MAX)
        async with asyncio.timeout(PATIENCE_S):
            assert await sharing.links.read(opened, *opened.items) == [TEXT]
        calls.complete.set()
        await asyncio.gather(*lookups)


async def test_changes_that_wait_for_a_secret_have_no_turn(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = await sharing.create()
    _, (other,) = await sharing.create()
    client, complete, started = Client("192.0.2.7", RequestId("req_1")), asyncio.Event(), []
    event = sharing.backend.event(ACTOR, AuditAction.LINK_ACKNOWLEDGE, secret.id)

    async def update(*arguments: Any, **_: Any) -> Secret:
        started.append(await complete.wait())
        return secret

    async def change() -> None:
        executions.call_subjects.set(CallSubjects(client.subjects))
        changed = partial(msgspec.structs.replace, sender="b")
        await sharing.backend.table.change(secret, event, changed)

    monkeypatch.setattr(table.Table, "update", update)
    changing = [asyncio.create_task(change()) for _ in range(aws.CALLS_MAX)]
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        assert await sharing.links.look_up(other, client)
    assert not started
    complete.set()
    await asyncio.gather(*changing)
