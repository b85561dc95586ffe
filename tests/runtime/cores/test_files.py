"""Directories and files of Cores in the console, with a real Core agent and with Cores that send hostile responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console_asgi
from gatehouse.cores import files
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.cores.core_agent import register, running_agent
from tests.runtime.sharing.chromium import serving

pytestmark = pytest.mark.requirement("CG-13")
LONG = "ü" * files.TEXT_BYTES_MAX


@pytest.fixture
def root(tmp_path: Path) -> Path:
    served = tmp_path / "served"
    (served / "Handbücher & 100%" / "leer").mkdir(parents=True)
    (served / "Handbücher & 100%" / "page.html").write_text("<script>alert(1)</script>")
    (served / "notes.txt").write_text("Grüße\n")
    (served / "long.txt").write_text(LONG)
    (served / "empty.txt").write_text("")
    (served / "data.bin").write_bytes(bytes(range(256)))
    (served / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (served / "evil\u202etxt.exe").write_text("disguised")
    (served / ".env").write_text("PASSWORD=hidden")
    (tmp_path / "outside.txt").write_text("outside")
    (served / "link").symlink_to(tmp_path / "outside.txt")
    (served / "large.bin").touch()
    with (served / "large.bin").open("wb") as file:
        file.truncate(files.FILE_BYTES_MAX + 1)
    return served


async def read(console: Console, kind: str, path: str | None = None, name: str = "docs", **options: Any) -> httpx.Response:
    params = {} if path is None else {"path": path}
    return await console.client.get(f"/v1/cores/{name}/{kind}", params=params, **options)


async def events(console: Console) -> list[Any]:
    return list((await console.client.get("/v1/audit-events", params={"action": "core.read"})).json()["events"])


async def test_files_of_an_agent_are_listed_read_and_downloaded(console: Console, root: Path, tmp_path: Path) -> None:
    async with running_agent(console, "docs", root, tmp_path / "log"):
        listing = (await read(console, "files")).json()
        assert [(entry["name"], entry["type"]) for entry in listing["entries"]] == [
            ("Handbücher & 100%", "directory"),
            ("data.bin", "file"),
            ("empty.txt", "file"),
            ("large.bin", "file"),
            ("latin.txt", "file"),
            ("long.txt", "file"),
            ("notes.txt", "file"),
        ]
        # The symbolic link and the file name that changes the text direction. The name that begins with a dot is not counted.
        assert (listing["truncated"], listing["omitted"]) == (False, 2)
        nested = (await read(console, "files", "Handbücher & 100%")).json()
        assert [entry["name"] for entry in nested["entries"]] == ["leer", "page.html"]
        assert (await read(console, "files", "Handbücher & 100%/leer")).json() == {
            "entries": [],
            "truncated": False,
            "omitted": 0,
        }
        text = {path: (await read(console, "file", path)).json() for path in ("notes.txt", "empty.txt", "data.bin", "latin.txt")}
        assert text == {
            "notes.txt": {"size": 8, "text": "Grüße\n", "truncated": False, "downloadable": True},
            "empty.txt": {"size": 0, "text": "", "truncated": False, "downloadable": True},
            "data.bin": {"size": 256, "text": None, "truncated": False, "downloadable": True},
            "latin.txt": {"size": 5, "text": None, "truncated": False, "downloadable": True},
        }
        long = (await read(console, "file", "long.txt")).json()
        assert (long["size"], long["text"], long["truncated"]) == (2 * files.TEXT_BYTES_MAX, LONG[: len(LONG) // 2], True)

        large = (await read(console, "file", "large.bin")).json()
        assert large == {"size": files.FILE_BYTES_MAX + 1, "text": None, "truncated": True, "downloadable": False}

        page = await read(console, "file/content", "Handbücher & 100%/page.html")
        assert (page.status_code, page.text) == (200, "<script>alert(1)</script>")
        assert {name: page.headers[name] for name in ("content-type", "content-disposition", "content-security-policy")} == {
            "content-type": "application/octet-stream",
            "content-disposition": "attachment; filename*=UTF-8''page.html",
            "content-security-policy": "sandbox; default-src 'none'",
        }
        assert (page.headers["x-content-type-options"], page.headers["cache-control"]) == ("nosniff", "no-store")
        assert (await read(console, "file/content", "data.bin")).content == bytes(range(256))
        assert (await read(console, "file/content", "empty.txt")).content == b""

        denied = {
            "large.bin": (403, "not_served"),
            "link": (403, "not_served"),
            ".env": (404, "not_found"),
            "missing.txt": (404, "not_found"),
            "Handbücher & 100%": (404, "not_found"),
        }
        replies = {path: await read(console, "file/content", path) for path in denied}
        assert {path: (reply.status_code, reply.json()["code"]) for path, reply in replies.items()} == denied
        assert (await read(console, "files", "notes.txt")).status_code == 404
        assert "64 MiB" in replies["large.bin"].json()["detail"]
    unreachable = await read(console, "files")
    assert (unreachable.status_code, unreachable.json()["code"]) == (502, "core_unreachable")


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "a/../b",
        "./a",
        "a//b",
        "/etc/passwd",
        "a/",
        "a\\b",
        "..\\b",
        "a\0b",
        "a\nb",
        "a\u202eb",
        "x" * 1025,
        "ü" * 1000 + "/..",
    ],
)
async def test_path_that_is_not_canonical_is_rejected_before_it_is_sent(console: Console, path: str) -> None:
    await register(console, "docs", "http://127.0.0.1:1")
    before = len(await events(console))
    for kind in ("files", "file", "file/content"):
        reply = await read(console, kind, path)
        assert (reply.status_code, reply.json()["errors"][0]["location"]) in {(400, "query.path"), (400, "query")}, kind
    assert len(await events(console)) == before


async def test_only_operators_read_files_and_every_request_is_recorded(console: Console, root: Path, tmp_path: Path) -> None:
    tokens = {
        role: await console.create(name=role, scopes=[f"role:{role}"])
        for role in ("owner", "operator", "issuer", "auditor", "service")
    }
    async with running_agent(console, "docs", root, tmp_path / "log"):
        for kind, path in (("files", ""), ("file", "notes.txt"), ("file/content", "missing.txt")):
            statuses = {
                role: (await read(console, kind, path, headers=console.as_(created["token"]))).status_code
                for role, created in tokens.items()
            }
            expected = 404 if path == "missing.txt" else 200
            assert statuses == {"owner": expected, "operator": expected, "issuer": 403, "auditor": 403, "service": 403}
    recorded = [
        (event["actor_id"], event["target_type"], event["target_id"], event["details"]) for event in await events(console)
    ]
    assert recorded[:6][::-1] == [
        (tokens[role]["key"]["id"], "core", "docs", {"path": path})
        for path in ("", "notes.txt", "missing.txt")
        for role in ("owner", "operator")
    ]
    assert (await console.client.get("/v1/cores/docs/files", headers={"Authorization": ""})).status_code == 401
    for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD"):
        assert (await console.client.request(method, "/v1/cores/docs/file/content")).status_code == 405


async def test_core_that_cannot_be_used_is_not_contacted(console: Console) -> None:
    await register(console, "draining", "http://127.0.0.1:1")
    console.database.sql("UPDATE core SET draining = true WHERE name = 'draining'")
    await register(console, "expired", "http://127.0.0.1:1")
    console.database.sql("UPDATE core SET expires_at = now() - interval '1 second' WHERE name = 'expired'")
    await register(console, "other", "http://127.0.0.1:1")
    console.database.sql("UPDATE core SET environment = 'live' WHERE name = 'other'")
    await register(console, "old", "http://127.0.0.1:1")
    console.database.sql("UPDATE core SET pepper_generation = 7 WHERE name = 'old'")
    await register(console, "private", "http://10.0.0.1:8000")
    await register(console, "metadata", "http://169.254.169.254")
    before = len(await events(console))
    expected = {"draining": 503, "expired": 503, "old": 503, "other": 404, "unknown": 404, "No-Name": 404, "a%00b": 404}
    assert {name: (await read(console, "files", name=name)).status_code for name in expected} == expected
    assert len(await events(console)) == before
    for name in ("private", "metadata"):
        reply = await read(console, "files", name=name)
        assert (reply.status_code, reply.json()["code"]) == (502, "core_unreachable")
        assert "10.0.0.1" not in reply.text


Handler = Callable[[Request], Awaitable[Response]]


async def respond(request: Request) -> Response:
    """Replaced by each test."""
    raise NotImplementedError


@pytest.fixture
async def core(console: Console) -> AsyncIterator[list[Handler]]:
    """A Core that responds with the last handler of the list."""
    handlers: list[Handler] = [respond]

    async def dispatch(request: Request) -> Response:
        return await handlers[-1](request)

    methods = ["GET", "HEAD", "POST"]
    async with serving(Starlette(routes=[Route("/{path:path}", dispatch, methods=methods)])) as origin:
        await register(console, "docs", origin)
        yield handlers


def listing(*entries: dict[str, Any], **changes: Any) -> Response:
    return Response(json.dumps({"entries": entries, "omitted": 0, **changes}), media_type="application/json")


def entry(path: str, **changes: Any) -> dict[str, Any]:
    return {"path": path, "type": "file", "size": 1, "modified_at": "2030-01-01T00:00:00Z", **changes}


@pytest.mark.parametrize(
    "response",
    [
        Response("<h1>Welcome</h1>", media_type="text/html"),
        Response("", 302, {"Location": "http://169.254.169.254/"}),
        Response("{}", 401),
        Response("{}", 500),
        Response("[" * 100_000),
        Response(b'{"entries": [], "omitted": "\xff"}'),
        Response(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "entries": [], "omitted": 0}'),
        Response(b" " * (4 * 1024 * 1024 + 1)),
        listing(omitted=-1),
        listing(entry("a", size=-1)),
        listing(entry("a", type="link")),
        listing(entry("a", modified_at="yesterday")),
        listing(entry("a", modified_at="2030-01-01T00:00:00")),
        listing(entry("../a")),
        listing(entry("/a")),
        listing(entry("a/b")),
        listing(entry("..")),
        listing(entry("")),
        listing(entry("\ud800")),
    ],
)
async def test_hostile_listing_is_an_error_without_text_from_the_core(
    console: Console, core: list[Handler], response: Response
) -> None:
    async def send(request: Request) -> Response:
        return response

    core.append(send)
    reply = await read(console, "files")
    assert (reply.status_code, reply.json()["code"]) == (502, "core_unreachable")
    assert reply.json()["detail"].startswith("The Core did not return a valid Core agent response.")


async def test_listing_is_bounded_and_omits_disguised_names(console: Console, core: list[Handler]) -> None:
    names = [f"file {number}" for number in range(files.ENTRIES_MAX + 1)]

    async def send(request: Request) -> Response:
        hidden = ["a\u202eb", "a\nb", "a\\b"]
        return listing(*(entry(f"d/{name}") for name in [*hidden, *names]))

    core.append(send)
    reply = (await read(console, "files", "d")).json()
    assert [item["name"] for item in reply["entries"]] == names[: files.ENTRIES_MAX]
    assert (reply["truncated"], reply["omitted"]) == (True, 3)


async def test_core_receives_its_secret_and_nothing_from_the_browser(console: Console, core: list[Handler]) -> None:
    received: list[Request] = []

    async def send(request: Request) -> Response:
        received.append(request)
        return listing()

    core.append(send)
    secret = await register(console, "docs", console.database.sql("SELECT url FROM core WHERE name = 'docs'"))
    reply = await read(console, "files", "a b/ü?&depth=9#c%2e", headers={"X-Test": "t", "Cookie": "a=b"})
    assert reply.status_code == 200, reply.text
    (request,) = received
    assert request.url.query == "path=a%20b%2F%C3%BC%3F%26depth%3D9%23c%252e&depth=1"
    assert dict(request.headers) == {
        "host": request.url.netloc,
        "authorization": f"Bearer {secret}",
        "gatehouse-request-id": reply.headers["x-request-id"],
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "gatehouse",
    }
    assert secret not in reply.text


FILE_HEADERS = {"Accept-Ranges": "bytes", "Content-Type": "text/html", "Set-Cookie": "a=b", "Content-Security-Policy": "x"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": "4"}, 404),  # as a listing
        ({"Accept-Ranges": "bytes", "Content-Length": "9" * 19}, 403),
        ({"Accept-Ranges": "bytes", "Content-Length": "4", "Content-Encoding": "gzip"}, 502),
        ({"Accept-Ranges": "bytes"}, 502),
    ],
)
async def test_file_without_a_usable_size_is_an_error(
    console: Console, core: list[Handler], headers: dict[str, str], status: int
) -> None:
    async def send(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"text"

        return StreamingResponse(body(), headers=headers)

    core.append(send)
    assert (await read(console, "file/content", "a.txt")).status_code == status


async def test_headers_of_a_core_are_not_returned(console: Console, core: list[Handler]) -> None:
    async def send(request: Request) -> Response:
        return Response(b"text", headers=FILE_HEADERS)

    core.append(send)
    reply = await read(console, "file/content", 'a"; x=\u00fc.html')
    assert "set-cookie" not in reply.headers
    assert (reply.headers["content-type"], reply.headers["content-length"]) == ("application/octet-stream", "4")
    assert reply.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22%3B%20x%3D%C3%BC.html"
    assert (await read(console, "file", "a.txt")).json() == {"size": 4, "text": "text", "truncated": False, "downloadable": True}


async def test_preview_of_a_core_that_ignores_the_range_is_bounded(console: Console, core: list[Handler]) -> None:
    async def send(request: Request) -> Response:
        return Response(b"x" * (files.TEXT_BYTES_MAX + 1), headers=FILE_HEADERS)

    core.append(send)
    assert (await read(console, "file", "a.txt")).status_code == 502


async def test_requests_to_a_core_are_limited_and_released(database: Database, root: Path, tmp_path: Path) -> None:
    async with open_console(database) as console, running_agent(console, "docs", root, tmp_path / "log"):
        for _ in range(files.REQUESTS_MAX + 1):
            assert (await read(console, "file/content", "large.bin")).status_code == 403
            assert (await read(console, "file/content", "long.txt")).status_code == 200
        assert console.dependencies.core_files.concurrency_limit._cores == {}


@asynccontextmanager
async def silent_core(database: Database) -> AsyncIterator[tuple[Console, asyncio.Event]]:
    """A console with a Core that does not respond until the event is set."""
    event = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await event.wait()
        writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with (
        open_console(database) as console,
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        asyncio.timeout(60),
    ):
        await register(console, "docs", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield console, event
        event.set()


@pytest.mark.parametrize("bound", ["READ_TIMEOUT_S", "TIMEOUT_S"])
async def test_core_that_does_not_respond_in_time_is_a_timeout(
    database: Database, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    for name in ("READ_TIMEOUT_S", "TIMEOUT_S"):
        monkeypatch.setattr(files, name, 0.1 if name == bound else 600.0)
    async with silent_core(database) as (console, _):
        reply = await read(console, "files")
    assert (reply.status_code, reply.json()["code"]) == (504, "core_timeout")


@pytest.mark.requirement("TR-12")
async def test_requests_wait_for_a_core_and_are_rejected_when_the_queue_is_full(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("READ_TIMEOUT_S", 600.0), ("QUEUE_TIMEOUT_S", 600.0), ("REQUESTS_MAX", 2), ("QUEUE_MAX", 1)):
        monkeypatch.setattr(files, name, value)
    async with silent_core(database) as (console, event):
        limit = console.dependencies.core_files.concurrency_limit
        requests = [asyncio.create_task(read(console, "files")) for _ in range(3)]
        while not limit.waiting():
            await asyncio.sleep(0.005)
        assert (await console.client.get("/healthz")).status_code == 200
        rejected = await read(console, "files")
        assert (rejected.status_code, rejected.json()["code"]) == (503, "core_overloaded")
        event.set()
        assert [reply.status_code for reply in await asyncio.gather(*requests)] == [404] * 3
        assert limit._cores == {}


async def test_request_that_waits_too_long_for_a_core_is_rejected(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("READ_TIMEOUT_S", 600.0), ("QUEUE_TIMEOUT_S", 0.1), ("REQUESTS_MAX", 1)):
        monkeypatch.setattr(files, name, value)
    async with silent_core(database) as (console, event):
        requests = [asyncio.create_task(read(console, "files")) for _ in range(2)]
        (first,), (second,) = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        assert (first.result().status_code, first.result().json()["code"]) == (503, "core_overloaded")
        event.set()
        assert (await second).status_code == 404


async def test_disabled_feature_has_no_endpoints(database: Database) -> None:
    async with open_console(database, features_off=frozenset({"core-files"})) as console:
        assert (await read(console, "files")).status_code == 404
        assert not [path for path in console_asgi.document(frozenset({"core-files"}))["paths"] if path.endswith("/files")]
