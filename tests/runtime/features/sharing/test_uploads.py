"""Secrets with files that are sent as a form: streamed to S3 in parts and within bounds."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gatehouse.core.addresses import ClientAddresses
from gatehouse.features.sharing.content_store import PART_BYTES
from gatehouse.features.sharing.link_token import parse
from gatehouse.platform.http.asgi import BODY_MEMORY
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.http.idempotency import FORM_RUNNING_S_MAX
from gatehouse.platform.settings import ConnectionSettings

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.features.sharing.services import Sharing

FILE_BYTES_MAX = 2 * PART_BYTES + 1_000_000
PATIENCE_S = 60


@pytest.fixture
async def console(database: Database, sharing: Sharing) -> AsyncIterator[Console]:
    async with open_console(
        database, **sharing.console("https://sharing.test", FILE_BYTES_MAX)
    ) as started:
        yield started


async def send(
    console: Console, body: Any, *files: bytes, path: str = "", **headers: str
) -> httpx.Response:
    """Sends a form. A body that is a string is sent as it is."""
    token = (
        (await console.create(scopes=["secrets:create"]))["token"]
        if "Authorization" not in headers
        else ""
    )
    parts: list[Any] = [("json", (None, body if isinstance(body, str) else json.dumps(body)))]
    parts += [("file", (f"part-{number}", content)) for number, content in enumerate(files)]
    method = "PUT" if path else "POST"
    return await console.client.request(
        method,
        f"/v1/secrets{path}",
        files=parts,
        headers={**(console.as_(token) if token else {}), **headers},
    )


@pytest.mark.requirement("SS-01")
async def test_files_of_any_number_of_parts_are_stored_and_opened(
    console: Console, sharing: Sharing
) -> None:
    contents = [os.urandom(2 * PART_BYTES), b"", os.urandom(70_000)]
    files = [{"name": f"{number}.bin"} for number in range(3)]
    files.insert(
        1, {"name": "inline.txt", "content_base64": "c2VjcmV0", "media_type": "text/plain"}
    )
    reply = await send(console, {"text": "first", "files": files}, *contents)
    assert reply.status_code == 201, reply.text
    token = parse(reply.json()["links"][0]["url"])
    assert token is not None
    opened = await sharing.open(token)
    assert [(item.name, item.size) for item in opened.items] == [
        ("", 5),
        ("0.bin", 2 * PART_BYTES),
        ("inline.txt", 6),
        ("1.bin", 0),
        ("2.bin", 70_000),
    ]
    found = [await sharing.text(opened, number) for number in range(5)]
    assert found == [b"first", contents[0], b"secret", *contents[1:]]


@pytest.mark.requirement("SS-04")
async def test_content_is_replaced_by_a_form(console: Console, sharing: Sharing) -> None:
    owner = console.as_((await console.create(scopes=["secrets:create"]))["token"])
    created = (await send(console, {"text": "first"}, **owner)).json()
    path = f"/{created['secret']['id']}/content"
    reply = await send(
        console, {"files": [{"name": "b"}]}, b"second", path=path, **{**owner, "If-Match": "*"}
    )
    assert (reply.status_code, reply.json()["versions"][0]["size"]) == (200, 6)
    token = parse(created["links"][0]["url"])
    assert token is not None
    assert await sharing.text(await sharing.open(token)) == b"second"


@pytest.mark.parametrize(
    ("body", "files", "location"),
    [
        ({"files": [{"name": "a"}, {"name": "b"}]}, [b"x"], "body"),
        ({"files": [{"name": "a"}]}, [b"x", b"y"], "body"),
        ({"text": "no files"}, [b"x"], "body"),
        ({"files": [{"name": "a"}]}, [bytes(FILE_BYTES_MAX + 1)], "body.files"),
        (
            {"files": [{"name": "a"}, {"name": "b"}]},
            [bytes(PART_BYTES + 500_001)] * 2,
            "body.files",
        ),
        ({"files": [{"name": "../a"}]}, [b"x"], "body.files[0].name"),
        ("not JSON", [b"x"], "body at line 1, column 5"),
    ],
    ids=[
        "too few",
        "too many",
        "unlisted",
        "one too large",
        "together too large",
        "bad name",
        "not JSON",
    ],
)
async def test_invalid_form_is_rejected_and_leaves_nothing(
    console: Console, sharing: Sharing, body: Any, files: list[bytes], location: str
) -> None:
    before = sharing.object_versions()
    reply = await send(console, body, *files)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, location)
    assert sharing.object_versions() == before
    assert sharing.s3.list_multipart_uploads(Bucket="secrets-bucket").get("Uploads", []) == []


async def test_form_must_begin_with_the_json_body(console: Console) -> None:
    headers = console.as_((await console.create(scopes=["secrets:create"]))["token"])
    reply = await console.client.post("/v1/secrets", files=[("file", ("a", b"x"))], headers=headers)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "body")
    reply = await console.client.post("/v1/keys", files=[("json", (None, "{}"))], headers=headers)
    assert reply.status_code in (403, 415)


@pytest.mark.bound("sharing_file_max_bytes")
async def test_body_larger_than_the_limit_is_rejected_before_it_is_read(console: Console) -> None:
    headers = console.as_((await console.create(scopes=["secrets:create"]))["token"])

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body is read")
        yield b""

    headers |= {
        "content-length": str(2 * FILE_BYTES_MAX),
        "content-type": "multipart/form-data; boundary=x",
    }
    reply = await console.client.post("/v1/secrets", content=never(), headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_json_body_needs_the_content_of_its_files(console: Console) -> None:
    headers = console.as_((await console.create(scopes=["secrets:create"]))["token"])
    reply = await console.client.post(
        "/v1/secrets", json={"files": [{"name": "a"}]}, headers=headers
    )
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (
        400,
        "body.files[0].content_base64",
    )


@pytest.mark.requirement("SS-02")
async def test_repeated_form_receives_the_stored_response(console: Console) -> None:
    headers = {
        **console.as_((await console.create(scopes=["secrets:create"]))["token"]),
        "Idempotency-Key": '"upload-1"',
    }
    body = {"files": [{"name": "a"}]}
    first, again = [await send(console, body, b"content", **headers) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    other = await send(console, body, b"longer content", **headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.bound("http.idempotency:FORM_RUNNING_S_MAX")
async def test_abandoned_form_is_taken_over_after_its_timeout(console: Console) -> None:
    headers = {
        **console.as_((await console.create(scopes=["secrets:create"]))["token"]),
        "Idempotency-Key": '"upload-2"',
    }
    body = {"files": [{"name": "a"}]}
    assert (await send(console, body, b"content", **headers)).status_code == 201
    claimed_at = console.clock.now() - FORM_RUNNING_S_MAX
    # The request changed nothing: its ID has neither a response nor an audit event.
    abandoned = (
        "UPDATE idempotent_request SET sealed = NULL, running = true, request_id = "
        "'req_nobody', claimed_at"
    )
    console.database.sql(f"{abandoned} = to_timestamp({claimed_at + 1})")
    assert (await send(console, body, b"content", **headers)).json()[
        "code"
    ] == "request_in_progress"
    console.database.sql(f"{abandoned} = to_timestamp({claimed_at - 1})")
    assert (await send(console, body, b"content", **headers)).status_code == 201


async def test_body_of_an_unfinished_form_counts_in_memory(console: Console) -> None:
    body = json.dumps({"label": "x" * 100, "files": [{"name": "a"}]}).encode()
    token = (await console.create(scopes=["secrets:create"]))["token"]
    head = b'--X\r\nContent-Disposition: form-data; name="json"\r\n\r\n' + body
    file = b'\r\n--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nbytes'
    connections = Connections(ConnectionSettings(), ClientAddresses(()))
    waits, leaves = asyncio.Event(), asyncio.Event()
    messages = [{"type": "http.request", "body": head + file, "more_body": True}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        waits.set()
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/secrets",
        "query_string": b"",
        "headers": [
            (b"host", b"console.test"),
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"multipart/form-data; boundary=X"),
        ],
        "client": ("192.0.2.7", 4711),
        "state": {BODY_MEMORY: connections},
    }
    request = asyncio.create_task(console.application()(scope, receive, send))
    async with asyncio.timeout(PATIENCE_S):
        await waits.wait()
        assert connections.body_bytes_total == len(body)
        leaves.set()
        await request
    assert connections.body_bytes_total == 0
