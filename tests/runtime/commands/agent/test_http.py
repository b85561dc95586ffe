"""HTTP interface of the agent."""

import pytest

from tests.runtime.commands.agent.conftest import SECRET, Agent

FILE = "/files/page.html"
SIZE = 25


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}x"]
)
@pytest.mark.parametrize("path", ["/files", FILE, "/files/../x", "/files/.env"])
async def test_request_without_the_gateway_secret_is_denied(
    agent: Agent, header: str, path: str
) -> None:
    reply = await agent.get(path, Authorization=header)
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")
    assert reply.headers["www-authenticate"] == 'Bearer realm="core"'


async def test_current_and_previous_secrets_are_accepted(agent: Agent) -> None:
    agent.secrets.accept("second")
    assert (await agent.get("/files")).status_code == 200
    agent.secrets.accept("third")
    assert (await agent.get("/files")).status_code == 401
    agent.secrets._digests.clear()  # as before the registration
    assert (await agent.get("/files")).status_code == 401


async def test_healthz_needs_no_secret(agent: Agent) -> None:
    assert (await agent.get("/healthz", Authorization="")).json() == {"status": "ok"}


async def test_unchanged_file_is_not_modified(agent: Agent) -> None:
    first = await agent.get(FILE)
    again = await agent.get(FILE, **{"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    etag = first.headers["etag"]
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    dated = await agent.get(FILE, **{"If-Modified-Since": first.headers["last-modified"]})
    assert dated.status_code == 304


async def test_changed_file_has_another_etag(agent: Agent) -> None:
    first = (await agent.get(FILE)).headers["etag"]
    (agent.root / "page.html").write_text("other, of another length")
    reply = await agent.get(FILE, **{"If-None-Match": first})
    assert (reply.status_code, reply.text) == (200, "other, of another length")


@pytest.mark.parametrize(
    ("requested", "status", "content", "expected"),
    [
        ("bytes=0-3", 206, b"<scr", f"bytes 0-3/{SIZE}"),
        ("bytes=20-", 206, b"ript>", f"bytes 20-24/{SIZE}"),
        ("bytes=-5", 206, b"ript>", f"bytes 20-24/{SIZE}"),
        ("bytes=20-999", 206, b"ript>", f"bytes 20-24/{SIZE}"),
        ("bytes=25-", 416, b"", f"bytes */{SIZE}"),
        ("bytes=-0", 416, b"", f"bytes */{SIZE}"),
    ],
)
async def test_byte_range_is_served(
    agent: Agent, requested: str, status: int, content: bytes, expected: str
) -> None:
    reply = await agent.get(FILE, Range=requested)
    assert (reply.status_code, reply.content) == (status, content)
    assert reply.headers["content-range"] == expected
    assert int(reply.headers["content-length"]) == len(content)


@pytest.mark.parametrize(
    "requested", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", "bytes=0-3"]
)
async def test_malformed_range_or_range_of_a_changed_file_is_ignored(
    agent: Agent, requested: str
) -> None:
    headers = {"If-Range": '"older"'} if requested == "bytes=0-3" else {}
    reply = await agent.get(FILE, Range=requested, **headers)
    assert (reply.status_code, len(reply.content)) == (200, SIZE)


async def test_head_has_content_length_and_no_body(agent: Agent) -> None:
    reply = await agent.client.head(FILE)
    length = reply.headers["content-length"]
    assert (reply.status_code, length, reply.content) == (200, str(SIZE), b"")


async def test_write_methods_are_rejected(agent: Agent) -> None:
    reply = await agent.client.put(FILE, content=b"x")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_large_file_is_complete(agent: Agent) -> None:
    content = bytes(range(256)) * 4096
    (agent.root / "large.bin").write_bytes(content)
    assert (await agent.get("/files/large.bin")).content == content
