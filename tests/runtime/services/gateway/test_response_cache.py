"""Response cache of a running gateway: files are revalidated by each request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Core, Gateway, Key, Reply, serving


@dataclass
class FileCore(Core):
    gateway: Any = None
    #: A key with scopes cores:read and cores:register.
    key: Any = None
    body: bytes = b"first edition"
    etag: str = '"1"'
    more: str = "Cache-Control: public, no-cache\r\n"
    status: int = 200
    sent: list[int] = field(default_factory=list)

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        status = self.status
        if status == 200 and self.received("if-none-match")[-1] == self.etag:
            status = 304
        self.sent.append(status)
        body = b"" if status == 304 else self.body if status == 200 else b"no"
        length = "" if status == 304 else f"Content-Length: {len(body)}\r\n"
        start = (
            f"HTTP/1.1 {status} Status\r\nETag: "
            f"{self.etag}\r\n{self.more}X-Response: {len(self.sent)}\r\n{length}\r\n"
        )
        writer.write(start.encode() + (b"" if head else body))
        await writer.drain()

    def received(self, name: str) -> list[str | None]:
        return [dict(headers).get(name) for _, headers, _ in self.requests]

    async def register(self) -> str:
        """Returns the ID of the lease."""
        scopes = ["cores:read", "cores:register"]
        self.key = self.key or await self.gateway.create_key(scopes=scopes)
        reply = await self.gateway.put_core(self.key, self.name, {"url": self.url})
        assert reply.status == 200, reply.body
        lease_id: str = reply.json["lease_id"]
        return lease_id

    @property
    def name(self) -> str:
        return f"files-{self.port}"

    async def read(
        self, *headers: str, path: str = "file", method: str = "GET", key: Key | None = None
    ) -> Reply:
        header = (key or self.key).header
        target = f"/cores/{self.name}/{path}"
        reply: Reply = await self.gateway.request(method, target, header, *headers)
        return reply


@pytest.fixture
async def file_core(gateway: Gateway) -> AsyncIterator[FileCore]:
    created = FileCore(gateway=gateway)
    async with serving(created.serve) as created.port:
        await created.register()
        yield created
        await gateway.drain(created.name)


@pytest.mark.requirement("CG-10")
async def test_unchanged_file_is_revalidated(gateway: Gateway, file_core: FileCore) -> None:
    hits = 'gatehouse_core_cache_total{outcome="hit"}'
    before = await gateway.metric(hits)
    replies = [await file_core.read() for _ in range(3)]
    assert [(reply.status, reply.body, reply.header("etag")) for reply in replies] == [
        (200, b"first edition", '"1"')
    ] * 3
    assert file_core.sent == [200, 304, 304]
    # Updated by the 304 (RFC 9111, section 3.2).
    assert [reply.header("x-response") for reply in replies] == ["1", "2", "3"]
    assert await gateway.metric(hits) == before + 2


async def test_host_of_a_client_has_no_effect_on_the_responses_to_others(
    gateway: Gateway, file_core: FileCore
) -> None:
    path = f"/cores/{file_core.name}/page"
    for _ in range(3):  # then the requests are sent without a task
        for host in ("evil.example", "gateway.test"):
            assert (await gateway.get(path, file_core.key.header, host=host)).status == 200
    assert file_core.sent == [200, 200, 304, 304, 304, 304]
    assert file_core.received("x-forwarded-host") == ["gateway.test"] * 6


async def test_responses_to_http_and_https_are_cached_separately(
    file_core: FileCore, another: Any
) -> None:
    settings = {"GATEHOUSE_TRUSTED_PROXIES": "127.0.0.0/8", "GATEHOUSE_GATEWAY_URL": ""}
    file_core.gateway = another(**settings)
    for _ in range(3):
        for scheme in ("http", "https"):
            await file_core.read(f"X-Forwarded-Proto: {scheme}", "X-Forwarded-For: 192.0.2.1")
    assert file_core.sent == [200, 200, 304, 304, 304, 304]
    assert file_core.received("x-forwarded-proto") == ["http", "https"] * 3
    # The gateway does not know its host.
    assert file_core.received("x-forwarded-host") == [None] * 6


@pytest.mark.requirement("CG-10")
async def test_changed_file_is_served_at_once(file_core: FileCore) -> None:
    await file_core.read()
    file_core.body, file_core.etag = b"second edition", '"2"'
    assert (await file_core.read()).body == b"second edition"
    assert (await file_core.read()).body == b"second edition"
    assert file_core.sent == [200, 200, 304]


@pytest.mark.parametrize("status", [404, 503])
async def test_denied_revalidation_is_not_served_from_cache(
    file_core: FileCore, status: int
) -> None:
    await file_core.read()
    file_core.status = status
    assert (await file_core.read()).status == status


@pytest.mark.requirement("CG-10")
async def test_denied_key_gets_nothing_from_cache(gateway: Gateway, file_core: FileCore) -> None:
    await file_core.read()
    other = await gateway.create_key(cores=["another"])
    await gateway.revoke(file_core.key)
    assert [(await file_core.read(key=key)).status for key in (file_core.key, other)] == [401, 403]
    assert len(file_core.requests) == 1


@pytest.mark.requirement("CG-10")
async def test_response_is_not_shared_between_keys(gateway: Gateway, file_core: FileCore) -> None:
    other = await gateway.create_key()
    file_core.more = ""
    file_core.body = b"data of the first key"
    await file_core.read()
    file_core.body = b"data of the other key"
    assert (await file_core.read(key=other)).body == b"data of the other key"


@pytest.mark.requirement("CG-10")
@pytest.mark.parametrize("control", ["public", "public, max-age=0, must-revalidate", "s-maxage=60"])
async def test_response_is_shared_between_keys_if_the_core_allows_it(
    gateway: Gateway, file_core: FileCore, control: str
) -> None:
    other = await gateway.create_key()
    file_core.more = f"Cache-Control: {control}\r\n"
    assert [(await file_core.read(key=key)).body for key in (file_core.key, other)] == [
        b"first edition"
    ] * 2
    assert file_core.sent == [200, 304]


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ("private", b"other"),
        ("public\r\nSet-Cookie: a=1", b"first edition"),
        ("public\r\nVary: Cookie", b"first edition"),
    ],
)
async def test_304_for_one_client_is_not_stored_for_others(
    gateway: Gateway, file_core: FileCore, more: str, body: bytes
) -> None:
    public, other = file_core.more, await gateway.create_key()
    await file_core.read()
    file_core.more, file_core.body = f"Cache-Control: {more}\r\n", b"other"
    assert (await file_core.read(key=other)).body == body
    file_core.more = public
    reply = await file_core.read()
    assert (reply.header("set-cookie"), reply.header("vary")) == (None, None)


@pytest.mark.parametrize(
    "header",
    [
        "Range: bytes=0-3",
        'If-None-Match: "x"',
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "Cache-Control: no-store",
    ],
)
async def test_conditional_request_is_forwarded_unchanged(file_core: FileCore, header: str) -> None:
    await file_core.read()
    await file_core.read(header)
    name, _, value = header.partition(": ")
    assert file_core.received(name.lower())[1] == value
    assert file_core.received("if-none-match")[1] == (value if name == "If-None-Match" else None)


async def test_cache_key_separates_variants(file_core: FileCore) -> None:
    await file_core.read()
    assert (await file_core.read(method="HEAD")).body == b""
    for path in ("file?a", "File"):
        await file_core.read(path=path)
    await file_core.read("Accept-Encoding: br")
    assert file_core.sent == [200] * 5


async def test_streamed_file_is_cached_up_to_one_mebibyte(file_core: FileCore) -> None:
    file_core.body = bytes(range(256)) * 2000  # larger than INLINE_BYTES_MAX
    for _ in range(2):
        assert (await file_core.read()).body == file_core.body
    file_core.body, file_core.etag = b"x" * 1_048_577, '"3"'
    assert [len((await file_core.read()).body) for _ in range(2)] == [1_048_577] * 2
    assert file_core.sent == [200, 304, 200, 200]


async def test_new_registration_or_url_starts_with_empty_cache(file_core: FileCore) -> None:
    await file_core.read()
    lease = await file_core.register()
    await file_core.read()
    moved = {"lease_id": lease, "url": file_core.url.replace("127.0.0.1", "localhost")}
    assert (await file_core.gateway.put_core(file_core.key, file_core.name, moved)).status == 200
    await file_core.read()
    assert file_core.sent == [200, 200, 200]
