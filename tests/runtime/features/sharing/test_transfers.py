"""Files that are too large for a response or request in the Lambda form: presigned requests, bound
to a claim or submission.
"""

from __future__ import annotations

import asyncio
import base64
import filecmp
import html
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from gatehouse.client.http import Retries
from gatehouse.client.presigned import EncryptedFile
from gatehouse.client.services import SharingClient, TransferFailed
from gatehouse.features.sharing.content_store import ContentStore
from gatehouse.features.sharing.encryption import (
    DecryptionFailed,
    decrypt_item,
    encrypt_item,
    item_key,
)
from gatehouse.features.sharing.link_token import LinkToken, SubmissionToken
from gatehouse.features.sharing.models import LAMBDA_FILES_BYTES_MAX, ContentItem
from gatehouse.features.sharing.requests.submissions import UPLOADS_MAX
from gatehouse.features.sharing.service import NewItem, one_by_one
from gatehouse.platform.http import asgi
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.settings import SharingSettings
from gatehouse.services.sharing import app as sharing_app
from gatehouse.services.sharing.app import create
from gatehouse.services.sharing.lambda_adapter import lambda_handler
from gatehouse.services.sharing.texts import TEXTS
from mangum.types import LambdaContext

from sandbox import ports
from sandbox.ports import PLAIN_HTTP
from tests import requires
from tests.runtime.clocks import ManualClock
from tests.runtime.features.sharing.api_gateway_events import encoded, event
from tests.runtime.features.sharing.services import (
    ACTOR,
    BUCKET,
    CLIENT,
    TABLE,
    TEXT,
    Sharing,
    services,
)
from tests.runtime.features.sharing.test_cli import SharingServer
from tests.runtime.features.sharing.test_faults import CALLS_MAX, faults
from tests.runtime.features.sharing.test_pages import ORIGIN, submit, url, uses
from tests.runtime.features.sharing.test_requests import request

pytestmark = [pytest.mark.requirement("SS-01"), pytest.mark.requirement("SS-06")]
LARGE = LAMBDA_FILES_BYTES_MAX + 1
KEY = bytes(range(32))
#: Size of a file that a command transfers with presigned requests.
TRANSFER_BYTES = int(os.environ.get("GATEHOUSE_TRANSFER_MIB", "40")) * 1024 * 1024
FILE_BYTES_MAX = max(64 * 1024 * 1024, TRANSFER_BYTES)
LAMBDA: dict[str, Any] = {
    "response_bytes_max": LAMBDA_FILES_BYTES_MAX,
    "upload_bytes_max": FILE_BYTES_MAX,
}
CONTAINER: dict[str, Any] = {"submission_files_bytes_max": FILE_BYTES_MAX}
FORMS = pytest.mark.parametrize("form", [LAMBDA, CONTAINER], ids=["lambda", "container"])
CONTEXT: Any = LambdaContext
#: Allowed difference between the peak memory of commands that transfer a smaller and a larger file.
GROWTH_BYTES_MAX = 16 * 1024 * 1024


@dataclass
class Log:
    """The log output of the service at level debug."""

    content: io.BytesIO

    def text(self) -> str:
        return self.content.getvalue().decode()


@pytest.fixture
def log() -> Log:
    return Log(io.BytesIO())


def application(sharing: Sharing, log: Log, form: dict[str, Any]) -> asgi.App:
    observer = Observer("sharing", "debug", "test", Stream(log.content))
    links, submissions = sharing.links, sharing.submissions
    return create(
        probes=[], observer=observer, https=True, links=links, submissions=submissions, **form
    )


@pytest.fixture
async def browser(sharing: Sharing, log: Log) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the Lambda form."""
    transport: Any = httpx.ASGITransport(application(sharing, log, LAMBDA))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


class Function(httpx.BaseTransport):
    """Sends requests for the service to its Lambda handler, as API Gateway does, and other requests
    to the S3 emulator.

    largest: bytes of the largest body that the function received or returned. storage: requests to
    S3. failing: statuses with which S3 responds to the next requests.
    """

    def __init__(self, app: asgi.App) -> None:
        self._handler = lambda_handler(app)
        self._s3 = httpx.HTTPTransport(verify=PLAIN_HTTP)
        self.largest = 0
        self.storage: list[httpx.Request] = []
        self.failing: list[int] = []
        self.truncated: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != urlsplit(ORIGIN).hostname:
            self.storage.append(request)
            if self.failing:
                return httpx.Response(self.failing.pop(0))
            response = self._s3.handle_request(request)
            if not self.truncated:
                return response
            return httpx.Response(
                response.status_code, content=response.read()[: self.truncated.pop(0)]
            )
        body = request.read()
        headers = {name.title(): [value] for name, value in request.headers.items()}
        reply = self._handler(
            event(request.method, request.url.path, headers=headers, **encoded(body)), CONTEXT
        )
        content = (
            base64.b64decode(reply["body"]) if reply["isBase64Encoded"] else reply["body"].encode()
        )
        self.largest = max(self.largest, len(body), len(content))
        return httpx.Response(reply["statusCode"], headers=reply["headers"], content=content)


@pytest.fixture
def function(sharing: Sharing, log: Log) -> Function:
    return Function(application(sharing, log, LAMBDA))


@pytest.fixture
def client(function: Function) -> Iterator[SharingClient]:
    with SharingClient(ORIGIN, retries=Retries(sleep=lambda _: None), transport=function) as client:
        yield client


async def call(function: Function, path: str, body: dict[str, Any]) -> httpx.Response:
    """Sends a request from a program to the function, which runs its own event loop."""
    with httpx.Client(transport=function, base_url=ORIGIN) as client:
        return await asyncio.to_thread(client.post, path, json=body)


def parameters(presigned: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(presigned).query).items()}


async def opened(
    sharing: Sharing, function: Function, content: bytes, **values: Any
) -> tuple[LinkToken, dict[str, str], Any]:
    """A secret with a large file that was opened: the link, the request body and the presigned
    download.
    """
    items = [NewItem.of(TEXT), NewItem.of(content, "large.bin")]
    _, [token] = await sharing.create(items=items, **values)
    body = {"link": url(token), "claim": os.urandom(16).hex()}
    reply = await call(function, "/v1/links/open", body)
    assert reply.status_code == 200, reply.text
    text, file = reply.json()["items"]
    assert (set(text), set(file)) == (
        {"name", "media_type", "size"},
        {"name", "media_type", "size", "download"},
    )
    return token, body, file["download"]


def decrypted(ciphertext: bytes, download: Any) -> bytes:
    return b"".join(decrypt_item([ciphertext], base64.b64decode(download["key_base64"])))


@FORMS
async def test_large_item_is_downloaded(sharing: Sharing, log: Log, form: dict[str, Any]) -> None:
    """The response contains a presigned request in the Lambda form, and the content itself in the
    container form.
    """
    content = os.urandom(LARGE)
    _, [token] = await sharing.create(items=[NewItem.of(content, "large.bin")])
    transport: Any = httpx.ASGITransport(application(sharing, log, form))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        reply = await client.post(
            "/v1/links/items", json={"link": url(token), "claim": "c" * 32, "item": 0}
        )
    assert reply.status_code == 200
    if form is CONTAINER:
        assert reply.content == content
        return
    download = reply.json()["download"]
    assert decrypted(httpx.get(download["url"], timeout=60).content, download) == content


async def test_presigned_download_is_bound_to_one_version_for_60_seconds(
    sharing: Sharing, function: Function
) -> None:
    token, body, download = await opened(sharing, function, bytes(LARGE))
    item = (await sharing.secrets.get(token.secret_id)).current.items[1]
    values = parameters(download["url"])
    assert urlsplit(download["url"]).path == f"/{BUCKET}/{item.key}"
    assert (values["versionId"], values["X-Amz-Expires"]) == (item.object_version, "60")
    assert (values["X-Amz-Algorithm"], download["expires_at"]) == (
        "AWS4-HMAC-SHA256",
        "2027-01-15T08:01:00Z",
    )
    expired = download["url"].replace(values["X-Amz-Date"], "20260101T000000Z")
    assert (
        httpx.get(download["url"], timeout=60).status_code,
        httpx.get(expired, timeout=60).status_code,
    ) == (200, 403)
    again = (await call(function, "/v1/links/items", {**body, "item": 1})).json()["download"]
    assert again["key_base64"] == download["key_base64"], "the claim is the same"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_presigned_requests_use_the_regional_host_and_signature_version_4(
    monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in {
        "REGION": region,
        "ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "SECRET_ACCESS_KEY": "key",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    store = ContentStore("own-bucket")
    upload = asyncio.run(store.presigned_upload("secrets/a/1/0", 5))
    download = asyncio.run(store.presigned_download(ContentItem("secrets/a/1/0", "v1", 5)))
    host = (
        "own-bucket.s3.amazonaws.com"
        if region == "us-east-1"
        else f"own-bucket.s3.{region}.amazonaws.com"
    )
    assert {urlsplit(address).netloc for address in (upload.url, download)} == {host}
    assert {urlsplit(address).scheme for address in (upload.url, download)} == {"https"}
    assert (
        parameters(download)["X-Amz-Algorithm"]
        == upload.fields["x-amz-algorithm"]
        == "AWS4-HMAC-SHA256"
    )
    policy = json.loads(base64.b64decode(upload.fields["policy"]))
    assert ["content-length-range", 5, 5] in policy["conditions"]
    assert {"key": "secrets/a/1/0"} in policy["conditions"]


async def test_only_the_claim_receives_a_presigned_request(
    sharing: Sharing, function: Function
) -> None:
    _, body, _ = await opened(sharing, function, bytes(LARGE))
    for other in (
        {**body, "claim": "b" * 32},
        {**body, "claim": ""},
        {**body, "link": body["link"][:-1] + ("A" if body["link"][-1] != "A" else "B")},
    ):
        reply = await call(function, "/v1/links/items", {**other, "item": 1})
        assert reply.status_code in (400, 404)
        assert "X-Amz" not in reply.text
    await call(function, "/v1/links/acknowledge", body)
    assert (await call(function, "/v1/links/items", {**body, "item": 1})).status_code == 404


async def test_presigned_request_of_another_version_or_item(
    sharing: Sharing, function: Function
) -> None:
    """A URL and a key of different versions or items return no content, and neither does a deleted
    version.
    """
    token, _, first = await opened(sharing, function, bytes(LARGE), uses=2)
    replaced = [NewItem.of(TEXT), NewItem.of(b"x" * LARGE, "large.bin")]
    await sharing.secrets.replace_content(token.secret_id, one_by_one(replaced), 1, ACTOR)
    second = (
        await call(function, "/v1/links/open", {"link": url(token), "claim": "b" * 32})
    ).json()["items"][1]["download"]
    assert decrypted(httpx.get(second["url"], timeout=60).content, second) == b"x" * LARGE
    ciphertext = httpx.get(first["url"], timeout=60).content
    text = (await sharing.secrets.get(token.secret_id)).current.items[0]
    small = sharing.s3.get_object(Bucket=BUCKET, Key=text.key, VersionId=text.object_version)[
        "Body"
    ].read()
    for content, download in ((ciphertext, second), (small, second)):
        with pytest.raises(DecryptionFailed):
            decrypted(content, download)
    await sharing.backend.content.delete_all(ContentStore.prefix(token.secret_id))
    assert httpx.get(second["url"], timeout=60).status_code == 404


async def test_client_downloads_again_after_expiry_and_truncation(
    sharing: Sharing, function: Function, client: SharingClient
) -> None:
    content = os.urandom(LARGE)
    token, body, _ = await opened(sharing, function, content)
    function.failing, function.truncated = [403], [100, LARGE]
    target = io.BytesIO()
    await asyncio.to_thread(client.save_item, url(token), "", body["claim"], 1, target)
    assert target.getvalue() == content
    assert len(function.storage) == 4
    assert all("authorization" not in request.headers for request in function.storage)
    function.truncated = [LARGE] * 10
    with pytest.raises(TransferFailed, match="a file cannot be decrypted"):
        await asyncio.to_thread(client.save_item, url(token), "", body["claim"], 1, io.BytesIO())


async def test_program_submits_and_receives_large_files(
    sharing: Sharing, function: Function, client: SharingClient
) -> None:
    large, small = os.urandom(LARGE), b"small"
    created, token, [link] = await request(sharing)
    files = [
        ("large.bin", io.BytesIO(large), "application/x-large"),
        ("empty", io.BytesIO(), "text/plain"),
    ]
    for _ in range(2):  # a repeated submission is received once
        await asyncio.to_thread(
            lambda: client.submit(token.url(ORIGIN), "s" * 32, text=small.decode(), files=files)
        )
    received = await asyncio.to_thread(client.open, url(link), "", "c" * 32)
    assert [(item.name, item.media_type, item.size) for item in received.items[1:]] == [
        ("large.bin", "application/x-large", LARGE),
        ("empty", "text/plain", 0),
    ]
    for number, expected in enumerate((small, large, b"")):
        target = io.BytesIO()
        await asyncio.to_thread(client.save_item, url(link), "", "c" * 32, number, target)
        assert target.getvalue() == expected
    assert len((await sharing.requests.get(created.id)).submissions) == 1
    assert function.largest < 10_000, "no content passes through the function"


async def test_container_receives_large_files_in_the_request(sharing: Sharing, log: Log) -> None:
    _, token, [link] = await request(sharing)
    container = Function(application(sharing, log, CONTAINER))
    with SharingClient(ORIGIN, transport=container) as client:
        file = ("large.bin", io.BytesIO(bytes(LARGE)), "text/plain")
        await asyncio.to_thread(lambda: client.submit(token.url(ORIGIN), "s" * 32, files=[file]))
    assert container.storage == []
    assert (await sharing.open(link)).items[0].size == LARGE


async def create_upload(
    function: Function, token: SubmissionToken, **values: Any
) -> httpx.Response:
    body = {"link": token.url(ORIGIN), "submission": "s" * 32, "number": 0, "size": LARGE, **values}
    return await call(function, "/v1/requests/uploads", body)


def send(upload: Any, content: bytes, **changes: str) -> httpx.Response:
    return httpx.post(
        upload["url"], data={**upload["fields"], **changes}, files={"file": content}, timeout=60
    )


async def submit_uploads(
    function: Function, token: SubmissionToken, upload: Any, version: str, **values: Any
) -> httpx.Response:
    body = {
        "link": token.url(ORIGIN),
        "submission": upload["submission"],
        "secret": upload["secret"],
        "content_key_base64": base64.b64encode(KEY).decode(),
        "files": [{"name": "large.bin", "size": LARGE, "object_version": version}],
    }
    return await call(function, "/v1/requests/submit-uploads", {**body, **values})


async def test_upload_is_bound_to_one_key_and_size_for_60_seconds(
    sharing: Sharing, function: Function
) -> None:
    _, token, [link] = await request(sharing)
    upload = (await create_upload(function, token)).json()
    ciphertext = encrypt_item(bytes(LARGE), KEY, 0)
    assert upload["fields"]["key"].startswith(f"secrets/{link.secret_id}/1/0-")
    other_key = upload["fields"]["key"].replace("/1/0-", "/1/1-")
    assert [
        send(upload, ciphertext, key=other_key).status_code,
        send(upload, ciphertext[:-1]).status_code,
    ] == [403, 400]
    assert not [key for key in sharing.object_versions() if link.secret_id in key]
    policy = json.loads(base64.b64decode(upload["fields"]["policy"]))
    lifetime = datetime.fromisoformat(policy["expiration"]) - datetime.strptime(
        upload["fields"]["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z"
    )
    assert lifetime.total_seconds() == 60
    expired = {**policy, "expiration": "2026-01-01T00:00:00Z"}
    encoded_policy = base64.b64encode(json.dumps(expired).encode()).decode()
    assert send(upload, ciphertext, policy=encoded_policy).status_code == 403
    assert send(upload, ciphertext).status_code == 204


async def test_uploads_are_verified_before_the_submission_counts(
    sharing: Sharing, function: Function
) -> None:
    created, token, [link] = await request(sharing)
    upload = (await create_upload(function, token)).json()
    assert (await submit_uploads(function, token, upload, "unknown")).json()[
        "code"
    ] == "upload_incomplete"
    version = send(upload, encrypt_item(bytes(LARGE), KEY, 0)).headers["x-amz-version-id"]
    for values in (
        {"files": [{"name": "large.bin", "size": LARGE + 1, "object_version": version}]},
        {"submission": "o" * 32},
        {"text": "the file has another number"},
    ):
        assert (await submit_uploads(function, token, upload, version, **values)).json()[
            "code"
        ] == "upload_incomplete"
    conflict = await submit_uploads(function, token, upload, version, secret="A" * 22)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "upload_conflict")
    assert len((await sharing.requests.get(created.id)).submissions) == 0
    assert await sharing.backend.repository.get(link.secret_id) is None
    for _ in range(2):
        assert (await submit_uploads(function, token, upload, version)).status_code == 200
    assert await sharing.text(await sharing.open(link)) == bytes(LARGE)
    assert (await create_upload(function, token)).json()["code"] == "submission_received"
    assert (await create_upload(function, token, submission="n" * 32)).status_code == 404


async def test_place_that_was_taken_during_the_upload_is_uploaded_again(
    sharing: Sharing, function: Function, client: SharingClient
) -> None:
    created, token, links = await request(sharing, submissions=2)
    upload = (await create_upload(function, token)).json()
    assert upload["secret"] == links[0].secret_id
    version = send(upload, encrypt_item(bytes(LARGE), KEY, 0)).headers["x-amz-version-id"]
    await sharing.submissions.submit(token, [NewItem.of(TEXT)], "o" * 32, CLIENT)
    assert (await submit_uploads(function, token, upload, version)).json()[
        "code"
    ] == "upload_conflict"
    file = ("large.bin", io.BytesIO(bytes(LARGE)), "text/plain")
    await asyncio.to_thread(lambda: client.submit(token.url(ORIGIN), "s" * 32, files=[file]))
    assert len((await sharing.requests.get(created.id)).submissions) == 2
    assert await sharing.text(await sharing.open(links[0])) == TEXT
    assert await sharing.text(await sharing.open(links[1])) == bytes(LARGE)


@pytest.mark.requirement("SS-03")
@pytest.mark.parametrize("before", [True, False])
async def test_failed_aws_call_counts_uploads_once_or_not_at_all(
    sharing: Sharing, function: Function, before: bool
) -> None:
    occurred = 0
    for at in range(1, CALLS_MAX):
        created, token, [link] = await request(sharing)
        upload = (await create_upload(function, token, number=1, size=len(TEXT))).json()
        version = send(upload, encrypt_item(TEXT, KEY, 1)).headers["x-amz-version-id"]
        body = {
            "text": "text",
            "files": [{"name": "a", "size": len(TEXT), "object_version": version}],
        }
        with faults(sharing, at, before=before) as fault:
            reply = await submit_uploads(function, token, upload, version, **body)
        assert reply.status_code == (503 if fault.occurred else 200)
        occurred += fault.occurred
        count = len((await sharing.requests.get(created.id)).submissions)
        assert count == (await sharing.backend.repository.get(link.secret_id) is not None)
        assert (await submit_uploads(function, token, upload, version, **body)).status_code == 200
        assert len((await sharing.requests.get(created.id)).submissions) == 1
        assert await sharing.text(await sharing.open(link), 1) == TEXT
        if not fault.occurred:
            break
    assert 4 <= occurred < CALLS_MAX - 1


@pytest.mark.bound("requests.submissions:UPLOADS_MAX")
async def test_uploads_are_limited(sharing: Sharing, function: Function, log: Log) -> None:
    _, token, _ = await request(sharing)
    too_large = await create_upload(function, token, size=FILE_BYTES_MAX + 1)
    assert (too_large.status_code, too_large.json()["errors"][0]["location"]) == (400, "body.size")
    sizes = [
        {"name": name, "size": FILE_BYTES_MAX // 2 + 1, "object_version": "v"} for name in "ab"
    ]
    body = {"submission": "s" * 32, "secret": "A" * 22}
    assert (await submit_uploads(function, token, body, "v", files=sizes)).json()["errors"][0][
        "location"
    ] == "body.files"
    for _ in range(UPLOADS_MAX):
        assert (await create_upload(function, token)).status_code == 200
    sharing.clock.advance(0.75)
    denied = await create_upload(function, token)
    assert (denied.json()["code"], denied.headers["retry-after"]) == ("too_many_uploads", "600")
    sharing.clock.advance(600)
    assert (await create_upload(function, token)).status_code == 200
    sharing.clock.advance(3600)
    container = Function(application(sharing, log, CONTAINER))
    assert (await create_upload(container, token)).json()["code"] == "uploads_not_supported"


async def test_abandoned_upload_is_an_orphan(sharing: Sharing, function: Function) -> None:
    _, token, [link] = await request(sharing)
    upload = (await create_upload(function, token)).json()
    assert send(upload, encrypt_item(bytes(LARGE), KEY, 0)).status_code == 204
    assert link.secret_id in await sharing.backend.content.secret_ids(
        older_than=sharing.clock.now() + 400 * 86_400
    )
    assert await sharing.backend.repository.get(link.secret_id) is None


@pytest.mark.requirement("SS-13")
async def test_url_and_key_are_in_no_log_table_or_event(
    sharing: Sharing,
    function: Function,
    client: SharingClient,
    log: Log,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    token, body, download = await opened(sharing, function, bytes(LARGE))
    _, submission, [_] = await request(sharing)
    upload = (await create_upload(function, submission)).json()
    target = io.BytesIO()
    await asyncio.to_thread(client.save_item, url(token), "", body["claim"], 1, target)
    file = ("large.bin", io.BytesIO(bytes(LARGE)), "text/plain")
    await asyncio.to_thread(lambda: client.submit(submission.url(ORIGIN), "t" * 32, files=[file]))
    used = [parameters(str(request.url)).get("X-Amz-Signature", "") for request in function.storage]
    canaries = [
        parameters(download["url"])["X-Amz-Signature"],
        download["key_base64"],
        upload["fields"]["x-amz-signature"],
        upload["fields"]["policy"],
        *filter(None, used),
    ]
    assert len(canaries) == 5
    # With the audit events that wait for the worker.
    stored = str(sharing.dynamodb.scan(TableName=TABLE)["Items"])
    records = "\n".join(record.getMessage() for record in caplog.records)
    assert "/v1/links/items" in log.text()
    assert "HTTP Request: GET http://127.0.0.1" in records
    for canary in canaries:
        assert canary not in log.text() + stored + records
        assert (
            base64.b64decode(download["key_base64"])
            not in sharing.dynamodb.scan(TableName=TABLE).__repr__().encode()
        )


@pytest.mark.parametrize("language", ["en", "de"])
async def test_browser_is_told_to_use_the_command_line(
    sharing: Sharing, browser: httpx.AsyncClient, language: str
) -> None:
    browser.headers["Accept-Language"] = language
    _, [token] = await sharing.create(items=[NewItem.of(bytes(LARGE), "large.bin")])
    reply = await submit(browser, token)
    text = TEXTS[language]["content_too_large"].format(size="4.0 MiB")
    assert (
        reply.status_code,
        html.escape(text) in reply.text,
        "gatehouse secrets open" in text,
    ) == (400, True, True)
    assert await uses(sharing, token) == 0
    _, submission, _ = await request(sharing)
    page = (await browser.get(f"/r/{submission.path}")).text
    assert "gatehouse secrets submit" in TEXTS[language]["larger_files"] in html.unescape(page)


async def test_page_of_the_container_names_no_command_line(sharing: Sharing, log: Log) -> None:
    _, submission, _ = await request(sharing)
    transport: Any = httpx.ASGITransport(application(sharing, log, CONTAINER))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        assert "gatehouse secrets submit" not in (await client.get(f"/r/{submission.path}")).text


def test_encrypted_file_is_read_repeatedly_with_its_size() -> None:
    content = os.urandom(200_000)
    file = EncryptedFile(io.BytesIO(content), len(content), KEY, 3)
    for _ in range(2):
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        ciphertext = b"".join(iter(lambda: file.read(10_007), b""))
        assert (len(ciphertext), file.tell()) == (size, size)
        assert b"".join(decrypt_item([ciphertext], item_key(KEY, 3))) == content
    with pytest.raises(io.UnsupportedOperation):
        file.seek(5)


@pytest.fixture
def service(aws: str) -> Iterator[str]:
    """URL of the service in the Lambda form, for commands in separate processes."""
    settings = SharingSettings(
        environment="test",
        log_level="error",
        secret_links_table=TABLE,
        secrets_bucket=BUCKET,
        secrets_key=aws,
        sharing_file_max_bytes=FILE_BYTES_MAX,
    )
    port = ports.free_port()
    server = SharingServer(
        uvicorn.Config(sharing_app.build(settings), host="127.0.0.1", port=port, log_config=None)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


#: A command that writes its process status to a file. getrusage(2) includes the memory of the
#: parent process before execve(2).
MEASURED = """
import atexit, pathlib
from gatehouse.commands.cli import main
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: pathlib.Path("status.txt").write_text(status.read_text()))
main()
"""


def peak_memory(folder: Path, *arguments: str, stdin: str = "") -> int:
    """Run a command in a separate process. Returns its largest resident set in bytes."""
    subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], cwd=folder, input=stdin, text=True, check=True
    )
    lines = dict(line.split(":", 1) for line in (folder / "status.txt").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


@requires.LINUX  # only Linux reports the peak memory of a process
async def test_command_transfers_a_large_file_in_constant_memory(
    aws: str, service: str, tmp_path: Path
) -> None:
    sharing = services(aws, ManualClock(time.time()))
    peaks = []
    for size in (LARGE, TRANSFER_BYTES):
        _, token, [link] = await request(sharing)
        source, received = tmp_path / f"{size}.bin", tmp_path / f"received-{size}"
        source.write_bytes(os.urandom(size))
        received.mkdir()
        sent = await asyncio.to_thread(
            peak_memory, tmp_path, "secrets", "submit", token.url(service), "--file", source.name
        )
        opened = await asyncio.to_thread(
            peak_memory, received, "secrets", "open", stdin=link.url(service)
        )
        assert filecmp.cmp(source, received / source.name, shallow=False)
        peaks.append(max(sent, opened))
        print(
            f"{size // 1024**2} MiB: {sent // 1024**2} MiB resident to submit, "
            f"{opened // 1024**2} MiB to open"
        )
    assert peaks[1] - peaks[0] < GROWTH_BYTES_MAX
