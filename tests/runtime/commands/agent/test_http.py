"""HTTP interface of the agent."""

import os
import time
from pathlib import Path

import pytest
from gatehouse.commands.agent import app as agent_app

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
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_large_file_is_complete(agent: Agent) -> None:
    content = bytes(range(256)) * 4096
    (agent.root / "large.bin").write_bytes(content)
    assert (await agent.get("/files/large.bin")).content == content


def old_file(root: Path, name: str, content: str, age_s: int = 60) -> None:
    (root / name).write_text(content)
    changed_at = int(time.time()) - age_s
    os.utime(root / name, (changed_at, changed_at))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions at which files are read."""
    positions, pread = list[int](), os.pread

    def record(fd: int, size: int, position: int) -> bytes:
        positions.append(position)
        return pread(fd, size, position)

    monkeypatch.setattr(os, "pread", record)
    return positions


@pytest.mark.requirement("CG-10")
async def test_file_is_read_once_until_it_changes(agent: Agent, reads: list[int]) -> None:
    old_file(agent.root, "often.txt", "first", age_s=60)
    replies = [await agent.get("/files/often.txt") for _ in range(3)]
    part = await agent.get("/files/often.txt", Range="bytes=1-2")
    assert ([reply.text for reply in replies], part.text) == (["first"] * 3, "ir")
    assert len(reads) == 1
    old_file(agent.root, "often.txt", "other", age_s=50)
    assert (await agent.get("/files/often.txt")).text == "other"
    (agent.root / "often.txt").unlink()
    assert (await agent.get("/files/often.txt")).status_code == 404


@pytest.mark.requirement("CG-10")
async def test_file_that_has_just_changed_is_not_cached(agent: Agent) -> None:
    (agent.root / "often.txt").write_text("first")
    changed = (agent.root / "often.txt").stat()
    assert (await agent.get("/files/often.txt")).text == "first"
    (agent.root / "often.txt").write_text("other")  # within the resolution of the time
    os.utime(agent.root / "often.txt", ns=(changed.st_mtime_ns, changed.st_mtime_ns))
    assert (await agent.get("/files/often.txt")).text == "other"


@pytest.mark.requirement("CG-10")
async def test_cache_of_files_is_bounded(
    agent: Agent, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_app, "CACHE_BYTES_MAX", 10)
    monkeypatch.setattr(agent_app, "CACHED_FILE_BYTES_MAX", 6)
    for name, content in {"a": "aaaaa", "b": "bbbbb", "c": "ccccc", "large": "1234567"}.items():
        old_file(agent.root, name, content)
    counts = []
    for name in ("a", "b", "a", "c", "a", "b", "large", "large"):
        reads.clear()
        assert (await agent.get(f"/files/{name}")).status_code == 200
        counts.append(len(reads))
    assert counts == [1, 1, 0, 1, 0, 1, 1, 1]
