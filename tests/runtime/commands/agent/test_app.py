"""Files and listings of a Core. Nothing outside of the directory is served."""

import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from gatehouse.commands.agent import app as agent_app
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import requires
from tests.runtime.commands.agent.conftest import SECRET, Agent

FOLDER = quote("Ordner mit Ümlaut")
FILE, SIZE = "/files/page.html", 25


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}x"]
)
@pytest.mark.parametrize("path", ["/files", "/files/", FILE, "/files/../x", "/files/.env"])
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
    assert not agent_app.GatewaySecrets().matches(SECRET)  # as before the registration


async def test_healthz_needs_no_secret(agent: Agent) -> None:
    assert (await agent.get("/healthz", Authorization="")).json() == {"status": "ok"}


async def test_listing_has_path_type_size_and_time(agent: Agent) -> None:
    listing = (await agent.get("/files")).json()
    assert [entry["path"] for entry in listing["entries"]] == [
        "%41.txt",
        "Ordner mit Ümlaut",
        "Ordner mit Ümlaut/Grüße & 100%.txt",
        "Ordner mit Ümlaut/tief",
        "Ordner mit Ümlaut/tief/x.bin",
        "empty",
        "page.html",
    ]
    os.utime(agent.root / "page.html", (0, 0))
    last = (await agent.get("/files/")).json()["entries"][-1]
    modified_at = "1970-01-01T00:00:00Z"
    assert last == {"path": "page.html", "type": "file", "size": SIZE, "modified_at": modified_at}
    assert (listing["path"], listing["truncated"]) == ("", False)


@pytest.mark.parametrize("url", [f"/files/{FOLDER}/", f"/files/{FOLDER}"])
async def test_subdirectory_is_listed_by_its_path(agent: Agent, url: str) -> None:
    listing = (await agent.get(url)).json()
    assert listing["path"] == "Ordner mit Ümlaut"
    assert [entry["path"] for entry in listing["entries"]] == [
        "Ordner mit Ümlaut/Grüße & 100%.txt",
        "Ordner mit Ümlaut/tief",
        "Ordner mit Ümlaut/tief/x.bin",
    ]


@pytest.mark.bound("agent.app:NAMES_MAX")
async def test_names_that_are_read_for_a_listing_are_bounded(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_app, "NAMES_MAX", 30)
    assert (await agent.get("/files")).json()["truncated"] is False
    for number in range(15):
        (agent.root / "empty" / f"link{number}").symlink_to("x")
    listing = (await agent.get("/files")).json()
    assert (listing["truncated"], len(listing["entries"]) >= 5) == (True, True)


@requires.LINUX  # macOS creates no file whose name is not UTF-8
async def test_name_with_invalid_utf8_is_omitted(agent: Agent) -> None:
    Path(os.fsdecode(os.fsencode(agent.root) + b"/empty/caf\xe9")).write_text("latin-1")
    assert (await agent.get("/files/empty")).json()["entries"] == []


@requires.LINUX
async def test_file_with_an_impossible_time_is_listed() -> None:
    secrets = agent_app.GatewaySecrets()
    secrets.accept(SECRET)
    with TemporaryDirectory(dir="/dev/shm") as folder:  # tmpfs stores any time
        for name, time_s in (("past", -(10**11)), ("future", 10**12)):
            Path(folder, name).touch()
            os.utime(Path(folder, name), (time_s, time_s))
        agent = Agent.of(Path(folder), secrets)
        entries = (await agent.get("/files")).json()["entries"]
    times = [entry["modified_at"] for entry in entries]
    assert times == ["9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z"]


async def test_name_with_special_characters_is_served(agent: Agent) -> None:
    reply = await agent.get(f"/files/{FOLDER}/{quote('Grüße & 100%.txt')}")
    assert reply.content == "Grüße\n".encode()
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
    disposition = reply.headers["content-disposition"]
    assert disposition == "attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe%20%26%20100%25.txt"


async def test_path_is_decoded_once(agent: Agent) -> None:
    assert (await agent.get("/files/%2541.txt")).text == "percent"
    assert (await agent.get("/files/%41.txt")).status_code == 404


async def test_compressed_file_has_no_type_of_its_content(agent: Agent) -> None:
    (agent.root / "a.tar.gz").write_bytes(b"\x1f\x8b")
    reply = await agent.get("/files/a.tar.gz")
    assert reply.headers["content-type"] == "application/octet-stream"


LINKS = ("out", "up", "in", "loop", "directory", "directory/near.txt", "up/outside.txt")


@pytest.mark.parametrize(
    "path",
    [
        *("absent", "page.html/x", "empty/absent", "a" * 256, "a/" * 3000, "%00", "a%00", "%ff"),
        *(".env", ".git/config", ".git/", ".git", f"{FOLDER}/../.env"),
        *(f"link-{name}" for name in LINKS),
        *("fifo", "socket"),
        *("../outside.txt", "%2e%2e/outside.txt", "..%2foutside.txt", "%2e%2e%2foutside.txt"),
        *(
            f"{FOLDER}/../../outside.txt",
            "../served-too/near.txt",
            "/etc/passwd",
            "%2fetc%2fpasswd",
        ),
    ],
)
async def test_what_is_no_served_file_is_not_found(agent: Agent, path: str) -> None:
    reply = await agent.get(f"/files/{path}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert reply.headers["content-type"] == "application/problem+json"


@requires.ROOT_USER
async def test_device_is_not_found(agent: Agent) -> None:
    requires.as_root("mknod", "-m", "666", agent.root / "null", "c", "1", "3")
    assert (await agent.get("/files/null")).status_code == 404


PARTS = ["..", ".", "%2e%2e", "", "%2f", "outside.txt", "served", "served-too", "near.txt"]
PARTS += ["link-up", "link-out", "link-directory", "empty", ".env", ".git", "config", "%5c", "%25"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(st.sampled_from(PARTS), max_size=6).map("/".join))
def test_no_path_leaves_the_directory(root: Path, path: str) -> None:
    secrets = agent_app.GatewaySecrets()
    secrets.accept(SECRET)
    reply = asyncio.run(Agent.of(root, secrets).get(f"/files/{path}"))
    assert reply.status_code in (200, 404)
    assert not any(text in reply.text for text in ("outside", "near", "hidden"))


async def test_unchanged_file_is_not_modified(agent: Agent) -> None:
    first = await agent.get(FILE)
    again = await agent.get(FILE, **{"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    etag = first.headers["etag"]
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    dated = await agent.get(FILE, **{"If-Modified-Since": first.headers["last-modified"]})
    assert dated.status_code == 304


async def test_changed_or_replaced_file_has_another_etag(agent: Agent) -> None:
    file, changed = agent.root / "page.html", agent.root / "new"
    first = (await agent.get(FILE)).headers["etag"]
    changed.write_bytes(file.read_bytes().upper())
    os.utime(changed, ns=(file.stat().st_mtime_ns,) * 2)
    changed.rename(file)
    reply = await agent.get(FILE, **{"If-None-Match": first})
    assert (reply.status_code, reply.text[:8]) == (200, "<SCRIPT>")


@pytest.mark.parametrize(
    ("headers", "status", "content"),
    [
        ({"Range": "bytes=20-999"}, 206, b"ript>"),
        ({"Range": "bytes=-5"}, 206, b"ript>"),
        ({"Range": "bytes=25-"}, 416, b""),
        ({"Range": "bytes=0-3", "If-Range": '"older"'}, 200, b"<script>alert(1)</script>"),
    ],
)
async def test_byte_range_is_served(
    agent: Agent, headers: dict[str, str], status: int, content: bytes
) -> None:
    reply = await agent.get(FILE, **headers)
    assert (reply.status_code, reply.content) == (status, content)


async def test_head_has_content_length_and_no_body(agent: Agent) -> None:
    reply = await agent.client.head(FILE)
    length = reply.headers["content-length"]
    assert (reply.status_code, length, reply.content) == (200, str(SIZE), b"")


@pytest.mark.parametrize("path", ["/files", FILE, "/files/empty"])
async def test_write_methods_are_rejected(agent: Agent, path: str) -> None:
    reply = await agent.client.put(path, content=b"x")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert {*reply.headers["allow"].split(", ")} == {"GET", "HEAD"}


async def test_large_file_is_complete(agent: Agent) -> None:
    content = bytes(range(256)) * 8192
    (agent.root / "large.bin").write_bytes(content)
    os.utime(agent.root / "large.bin", (0, 0))
    assert (await agent.get("/files/large.bin")).content == content


@pytest.mark.bound("agent.app:CACHED_AGE_S", "agent.app:CACHED_FILE_BYTES_MAX")
@pytest.mark.parametrize(
    ("age_s", "size", "cached"), [(7200, 5, True), (1, 5, False), (7200, 9, False)]
)
async def test_small_file_that_has_not_just_changed_is_cached(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, age_s: int, size: int, cached: bool
) -> None:
    monkeypatch.setattr(agent_app, "CACHED_FILE_BYTES_MAX", 8)
    monkeypatch.setattr(agent_app, "CACHED_AGE_S", 3600)  # longer than the test
    file, changed_at = agent.root / "often.txt", int(time.time()) - age_s

    async def get(content: str, changed_at: int) -> str:
        file.write_text(content)
        os.utime(file, (changed_at, changed_at))
        return (await agent.get("/files/often.txt")).text

    assert await get("a" * size, changed_at) == "a" * size
    # Without another time, the agent cannot see the change.
    assert await get("b" * size, changed_at) == ("a" if cached else "b") * size
    assert await get("c" * size, changed_at - 1) == "c" * size
    file.unlink()
    assert (await agent.get("/files/often.txt")).status_code == 404


@pytest.mark.bound("agent.app:CACHED_FILES_MAX")
async def test_number_of_cached_files_is_bounded(root: Path, agent: Agent) -> None:
    names = [f"file-{number}" for number in range(agent_app.CACHED_FILES_MAX + 1)]

    async def get(name: str, content: str) -> str:
        (root / name).write_text(content)
        os.utime(root / name, (1, 1))
        return (await agent.get(f"/files/{name}")).text

    for name in names:
        assert await get(name, "old") == "old"
    assert [await get(name, "new") for name in (names[-1], names[0])] == ["old", "new"]
