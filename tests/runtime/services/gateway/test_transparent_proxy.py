"""Clients and applications that do not know the gateway."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.runtime.services.gateway.conftest import Core, Gateway, Key, serving

_CLOSE = "Connection: close\r\n\r\n"


class Application(Core):
    """Responds to the first segment of the path below `prefix` with an entry of `responses`."""

    prefix = ""
    #: URL in redirects. Default: the URL of the Core.
    own_url = ""

    @property
    def responses(self) -> dict[str, str]:
        return {
            "login": "302 Found\r\n"
            f"Location: {self.own_url or self.url}{self.prefix}/home?from=login\r\n"
            f"Set-Cookie: session=1; Path={self.prefix}/; Domain=127.0.0.1\r\n",
            "created": f"201 Created\r\nLocation: {self.url}/uploads/7\r\n"
            "Content-Location: /uploads/7\r\nUpload-Offset: 0\r\n",
            "openai": "200 OK\r\nX-Request-Id: req-of-the-core\r\nGatehouse-Request-Id: forged\r\n",
            "mcp": "200 OK\r\nMcp-Session-Id: 5f1c\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
            "Content-Disposition: attachment; filename=caf\xe9.txt\r\n",
            "cors": "200 OK\r\nAccess-Control-Allow-Origin: https://own.test\r\nVary: Accept\r\n",
        }

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        name = path.removeprefix(self.prefix).lstrip("/").partition("/")[0]
        response = self.responses.get(name, "200 OK\r\n")
        writer.write(f"HTTP/1.1 {response}Content-Length: 4\r\n\r\nbody".encode("latin-1"))
        await writer.drain()


@pytest.fixture
async def core() -> AsyncIterator[Application]:
    application = Application()
    async with serving(application.serve) as application.port:
        yield application


@pytest.fixture
async def key(gateway: Gateway, docs: Any) -> Key:
    return await gateway.create_key()


@pytest.fixture
async def client(gateway: Gateway, key: Key) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-API-Key": key.token}
    url = f"http://127.0.0.1:{gateway.port}/cores/docs/"
    async with httpx.AsyncClient(
        base_url=url, headers=headers, follow_redirects=True, timeout=60, trust_env=False
    ) as created:
        yield created


async def test_session_and_redirects_stay_at_the_gateway(
    client: httpx.AsyncClient, core: Application
) -> None:
    response = await client.get("login")
    assert str(response.url) == f"{client.base_url}home?from=login"
    line, headers, _ = core.last
    assert (line, headers["cookie"]) == ("GET /home?from=login HTTP/1.1", "session=1")
    elsewhere = await client.get(f"http://127.0.0.1:{client.base_url.port}/cores/other/")
    assert "cookie" not in elsewhere.request.headers


async def test_upload_location_is_at_the_gateway(
    client: httpx.AsyncClient, core: Application
) -> None:
    created = await client.post("created", headers={"Upload-Length": "5", "Tus-Resumable": "1.0.0"})
    assert created.headers["content-location"] == "/cores/docs/uploads/7"
    upload = created.url.join(created.headers["location"])
    await client.patch(upload, headers={"Upload-Offset": "0"})
    line, headers, _ = core.last
    assert (line, headers["upload-offset"]) == ("PATCH /uploads/7 HTTP/1.1", "0")


async def test_webdav_destination_is_a_url_of_the_core(
    client: httpx.AsyncClient, core: Application
) -> None:
    destination = f"{client.base_url}b%20c.txt"
    await client.request("MOVE", "a.txt", headers={"Destination": destination, "Overwrite": "F"})
    line, headers, _ = core.last
    assert (line, headers["destination"], headers["overwrite"]) == (
        "MOVE /a.txt HTTP/1.1",
        f"{core.url}/b%20c.txt",
        "F",
    )


@pytest.mark.parametrize(
    "upgrade",
    [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: TLS/1.0\r\nConnection: upgrade\r\n",
    ],
)
async def test_upgrade_other_than_websocket_is_ignored(
    gateway: Gateway, core: Application, key: Key, upgrade: str
) -> None:
    body = f'{{"token": "{key.token}"}}'
    requests = (
        f"POST /cores/docs/x HTTP/1.1\r\nHost: g\r\n{key.header}\r\n{upgrade}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
        f"GET /cores/docs/x HTTP/1.1\r\nHost: g\r\n{key.header}\r\n{upgrade}\r\n"
        f"POST /v1/keys/verify HTTP/1.1\r\nHost: g\r\n{upgrade}"
        f"Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n"
        f"GET /healthz HTTP/1.1\r\nHost: g\r\n{_CLOSE}"
    ).encode()
    async with gateway.connection() as (reader, writer):
        for end in range(0, len(requests), 50):
            writer.write(requests[end : end + 50])
            await writer.drain()
        response = await reader.read()
    assert response.count(b"HTTP/1.1 200 OK\r\n") == response.count(b"HTTP/1.1") == 4
    assert b'"code":"VALID"' in response
    assert [(line, received) for line, _, received in core.requests] == [
        ("POST /x HTTP/1.1", body.encode()),
        ("GET /x HTTP/1.1", b""),
    ]
    for _, headers, _ in core.requests:
        names = {name for name, _ in headers}
        assert names.isdisjoint({"upgrade", "http2-settings", "connection"})


async def test_expectation_is_answered_by_the_core(gateway: Gateway) -> None:
    """A client whose request is denied does not send the body."""
    received = list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        received.append(await reader.readexactly(5))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    head = "PUT /cores/docs/x HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
    async with serving(serve) as port, gateway.core(f"http://127.0.0.1:{port}") as key:
        for header, start in (("X-API-Key: wrong", b"401 "), (key.header, b"100 ")):
            request = f"{head}{header}\r\n{_CLOSE}".encode()
            async with gateway.connection(request) as (reader, writer):
                assert (await reader.readuntil(b"\r\n\r\n"))[9:13] == start
                assert len(received) == (start == b"100 ")
                if start == b"100 ":
                    writer.write(b"order")
                    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nexpect: 100-continue\r\n" in received[0]
    assert received[1] == b"order"


async def test_names_of_removed_headers_are_logged(key: Key, another: Any) -> None:
    client = another(GATEHOUSE_LOG_LEVEL="debug")
    reply = await client.get(
        "/cores/docs/x",
        key.header,
        "X-Remote-User: secret-value",
        "X-Hop: 1",
        "Connection: X-Hop",
        "X-Kept: 1",
        f"{key.token}: 1",
    )
    assert reply.status == 200
    (line,) = await client.lines_with(
        event="headers removed", request_id=reply.header("x-request-id")
    )
    assert (line["core"], line["level"]) == ("docs", "debug")
    assert {"x-remote-user", "x-api-key"} <= set(line["headers"])
    assert "x-kept" not in line["headers"]
    text = client.log.read_text()
    assert "secret-value" not in text
    assert key.token.lower() not in text.lower()


async def test_core_selects_the_headers_that_it_does_not_receive(
    gateway: Gateway, core: Application
) -> None:
    async with gateway.core(core.url, remove_headers=["X-Internal-*"]) as key:
        sent = ("X-Remote-User: a", "X_User: a", "X-Internal-User: a", "X-Forwarded-User: a")
        await gateway.get("/cores/docs/x", key.header, *sent)
    names = core.last[1].keys() & {"x-remote-user", "x_user", "x-internal-user", "x-forwarded-user"}
    assert names == {"x-remote-user", "x_user"}


async def test_pages_of_declared_origins_use_a_core(gateway: Gateway, core: Application) -> None:
    page = "https://page.test"
    preflight = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-api-key")
    async with gateway.core(core.url, cors_origins=[page]) as key:
        replies = [
            await gateway.request(method, "/cores/docs/x", f"Origin: {origin}", *headers)
            for origin in (page, "https://other.test")
            for method, headers in (("OPTIONS", preflight), ("GET", ()), ("GET", (key.header,)))
        ]
        assert [reply.status for reply in replies] == [204, 401, 200, 401, 401, 200]
        origins = [reply.header("access-control-allow-origin") for reply in replies]
        assert origins == [page] * 3 + [None] * 3
        assert {reply.header("vary") for reply in replies} == {"Origin"}
        assert (
            replies[0].header("access-control-allow-methods"),
            replies[0].header("access-control-allow-headers"),
            replies[0].header("access-control-allow-credentials"),
        ) == ("PUT", "x-api-key", "true")
        # With credentials, `*` is the name of a header.
        exposed = (replies[2].header("access-control-expose-headers") or "").lower().split(", ")
        assert {"ratelimit", "retry-after", "www-authenticate", "x-request-id"} < set(exposed)
        assert "*" not in exposed
    assert [line for line, _, _ in core.requests] == ["GET /x HTTP/1.1"] * 2
    async with gateway.core(core.url, cors_origins=["*"]) as key:
        reply = await gateway.get("/cores/docs/cors", f"Origin: {page}", key.header)
        assert reply.all("access-control-allow-origin") == ["*"]
        assert reply.header("access-control-expose-headers") == "*"
        assert sorted(",".join(reply.all("vary")).split(",")) == ["Accept", "Origin"]
        reply = await gateway.request("OPTIONS", "/cores/docs/x", f"Origin: {page}", *preflight)
        assert reply.header("access-control-allow-origin") == "*"
        assert reply.header("access-control-allow-credentials") is None
        assert reply.header("cache-control") == "no-store"
        # Browsers send no credential (Fetch Standard, section 4.8).
        answered = len(core.requests)
        await gateway.request("OPTIONS", "/cores/docs/x", f"Origin: {page}", key.header, *preflight)
        assert [line for line, _, _ in core.requests[answered:]] == ["OPTIONS /x HTTP/1.1"]
    async with gateway.core(core.url) as key:
        reply = await gateway.request("OPTIONS", "/cores/docs/x", f"Origin: {page}", *preflight)
        assert (reply.status, reply.header("access-control-allow-origin")) == (401, None)
        reply = await gateway.get("/cores/docs/cors", f"Origin: {page}", key.header)
        assert reply.header("access-control-allow-origin") == "https://own.test"
