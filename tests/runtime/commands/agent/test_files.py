"""Files and listings of a Core, and rejected paths."""

import asyncio
import os
import threading
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from gatehouse.commands.agent import app, directory
from gatehouse.commands.agent.directory import MAX_LEVELS, Directory, Listing, OpenFile, decode_path
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import BadRequest, NotFound
from hypothesis import given
from hypothesis import strategies as st

from tests import requires
from tests.runtime.commands.agent.conftest import Agent
from tests.runtime.waiting import until

FOLDER = quote("Ordner mit Ümlaut")
GREETING = f"/files/{FOLDER}/{quote('Grüße & 100%.txt')}"


@pytest.mark.requirement("CG-04")
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
    assert listing["entries"][4] | {"modified_at": ""} == {
        "path": "Ordner mit Ümlaut/tief/x.bin",
        "type": "file",
        "size": 256,
        "modified_at": "",
    }
    assert (listing["truncated"], listing["omitted"]) == (False, 7)


@pytest.mark.parametrize("url", [f"/files/{FOLDER}/", f"/files/{FOLDER}"])
async def test_subdirectory_is_listed_by_its_path(agent: Agent, url: str) -> None:
    listing = (await agent.get(url)).json()
    assert listing["path"] == "Ordner mit Ümlaut"
    assert len(listing["entries"]) == 3


@pytest.mark.requirement("CG-05")
async def test_name_with_special_characters_is_served(agent: Agent) -> None:
    reply = await agent.get(GREETING)
    assert reply.content == "Grüße\n".encode()
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
    disposition = reply.headers["content-disposition"]
    assert disposition.startswith("attachment;")
    assert disposition.endswith("filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%26%20100%25.txt")


@pytest.mark.requirement("CG-05")
async def test_path_is_decoded_once(agent: Agent) -> None:
    assert (await agent.get("/files/%2541.txt")).text == "percent"
    assert (await agent.get("/files/%41.txt")).status_code == 404


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_name_matches_any_unicode_normalization(agent: Agent, form: str) -> None:
    stored = unicodedata.normalize("NFD", "Café.txt")
    (agent.root / stored).write_text("coffee")
    requested = unicodedata.normalize(form, "Café.txt")  # type: ignore[arg-type]
    assert (await agent.get(f"/files/{quote(requested)}")).text == "coffee"


@pytest.mark.parametrize("name", ["é", "é" * 127])
async def test_name_that_does_not_exist_is_not_searched(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(os, "scandir")
    assert (await agent.get(f"/files/{quote(name)}")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/files/../outside.txt",
        "/files/%2e%2e/outside.txt",
        "/files/.%2E/outside.txt",
        "/files/..%2foutside.txt",
        "/files/%2e%2e%2foutside.txt",
        f"/files/{FOLDER}/../../outside.txt",
        "/files/./page.html",
        "/files//page.html",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/page.html%00.txt",
        "/files/%00",
        "/files/%ff",
        "/files/%c0%ae%c0%ae/outside.txt",
        "/files/%ed%a0%80",
        "/files/%zz",
        "/files/100%",
        "/files/" + "a" * 256,
        "/files/" + "a/" * 129,
    ],
)
async def test_malformed_or_parent_path_is_a_bad_request(agent: Agent, path: str) -> None:
    reply = await agent.get(path)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")
    assert reply.headers["content-type"] == "application/problem+json"
    assert "outside" not in reply.text


LINKS = ("out", "up", "in", "loop", "directory", "directory/near.txt", "up/outside.txt")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((f"link-{name}", "symbolic link") for name in LINKS),
        ("fifo", "device, FIFO or socket"),
        ("socket", "device"),
    ],
)
async def test_link_or_special_file_is_not_opened(agent: Agent, name: str, kind: str) -> None:
    reply = await agent.get(f"/files/{name}")
    assert (reply.status_code, reply.json()["code"]) == (403, "not_served")
    assert reply.json()["detail"].startswith(f"This is a {kind}")


@requires.ROOT_USER
async def test_device_is_rejected(agent: Agent) -> None:
    requires.as_root("mknod", "-m", "666", agent.root / "null", "c", "1", "3")
    assert (await agent.get("/files/null")).json()["code"] == "not_served"


@pytest.mark.parametrize("name", [".env", ".git/config", ".git/", ".git"])
async def test_hidden_name_is_not_found(agent: Agent, name: str) -> None:
    hidden, absent = await agent.get(f"/files/{name}"), await agent.get("/files/absent")
    assert (hidden.status_code, hidden.json()["detail"]) == (404, absent.json()["detail"])


@pytest.mark.parametrize("name", ["absent", "page.html/x", "page.html/", "empty/absent"])
async def test_missing_file_is_not_found(agent: Agent, name: str) -> None:
    assert (await agent.get(f"/files/{name}")).status_code == 404


def test_missing_root_directory_is_reported(root: Path) -> None:
    with pytest.raises(NotFound, match="not available"):
        Directory(root / "nowhere").listing((), max_entries=1)


def test_listing_is_truncated_at_the_entry_bound(root: Path) -> None:
    listing = Directory(root).listing((), max_entries=3)
    assert (len(listing.entries), listing.truncated) == (3, True)


@pytest.mark.bound("agent.directory:STEPS_MAX")
def test_links_and_chains_of_a_listing_are_bounded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "STEPS_MAX", 100)
    assert not Directory(root).listing((), max_entries=1000).truncated
    for number in range(101):
        (root / "empty" / f"link{number}").symlink_to("x")
    root.joinpath("chain", *["d"] * 20).mkdir(parents=True)
    for name in ("empty", "chain"):
        assert Directory(root).listing((name,), max_entries=1000).truncated


def test_listing_is_truncated_at_the_depth_bound(root: Path) -> None:
    deepest = root.joinpath(*["d"] * MAX_LEVELS)
    deepest.mkdir(parents=True)
    listing = Directory(root).listing((), max_entries=1000)
    assert "d/" * (MAX_LEVELS - 1) + "d" in {entry.path for entry in listing.entries}
    assert listing.truncated
    deepest.rmdir()
    assert not Directory(root).listing((), max_entries=1000).truncated


@requires.LINUX  # macOS creates no file whose name is not UTF-8
def test_name_with_invalid_utf8_is_omitted_and_counted(root: Path) -> None:
    before = Directory(root).listing((), max_entries=100).omitted
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("latin-1")
    assert Directory(root).listing((), max_entries=100).omitted == before + 1


@requires.LINUX
def test_file_with_an_impossible_time_is_listed_and_served() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:  # tmpfs stores any time
        for name, time_s in (("past", -(10**11)), ("future", 10**12)):
            Path(folder, name).touch()
            os.utime(Path(folder, name), (time_s, time_s))
        tree = Directory(Path(folder))
        file, entries = tree.open(("future",)), tree.listing((), max_entries=9).entries
    assert file is not None
    times = [entry.modified_ns for entry in entries] + [file.modified_ns]
    end = "9999-12-31T23:59:59Z"
    assert [rfc3339(ns // 10**9) for ns in times] == [end, "1970-01-01T00:00:00Z", end]


def test_errors_leave_no_descriptor_open(root: Path) -> None:
    tree = Directory(root)
    current = len([*Path("/dev/fd").iterdir()])
    for requested in ("absent", "link-out", "fifo", "page.html/x", "link-up/x", ".env"):
        with pytest.raises(Exception, match=r"served|does not exist|link|device"):
            tree.open(tuple(requested.split("/")))
    assert len([*Path("/dev/fd").iterdir()]) == current


async def test_cancelled_request_leaves_no_descriptor_open(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors, release, open_file = list[int](), threading.Event(), Directory.open

    def waits(directory: Directory, names: tuple[str, ...]) -> OpenFile | None:
        file = open_file(directory, names)
        descriptors.extend([] if file is None else [file.fd])
        release.wait(60)
        return file

    monkeypatch.setattr(Directory, "open", waits)
    request = asyncio.create_task(agent.get("/files/page.html"))
    await until(lambda: descriptors)
    request.cancel()
    await asyncio.wait([request])
    release.set()
    path = Path(f"/dev/fd/{descriptors[0]}")
    await until(lambda: not path.exists())


@given(st.binary(max_size=60))
def test_decoded_names_never_leave_the_directory(raw: bytes) -> None:
    try:
        decoded = decode_path(raw)
    except BadRequest:
        return
    assert not any(name in {"", ".", ".."} or "/" in name or "\0" in name for name in decoded)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60)


@given(st.lists(NAMES.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=5))
def test_valid_names_survive_an_encoding_round_trip(parts: list[str]) -> None:
    assert decode_path("/".join(quote(part, safe="") for part in parts).encode()) == tuple(parts)


async def test_listings_in_progress_are_bounded(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, listing, release = list[object](), Directory.listing, threading.Event()

    def waits(directory: Directory, path: tuple[str, ...], *, max_entries: int) -> Listing:
        paths.append(path)
        assert release.wait(60)
        return listing(directory, path, max_entries=max_entries)

    monkeypatch.setattr(Directory, "listing", waits)
    count = app.LISTINGS_PARALLEL + 1
    requests = [asyncio.create_task(agent.get("/files")) for _ in range(count)]
    await until(lambda: len(paths) >= app.LISTINGS_PARALLEL)
    assert (await agent.get("/healthz")).status_code == 200
    assert len(paths) == app.LISTINGS_PARALLEL
    release.set()
    assert {reply.status_code for reply in await asyncio.gather(*requests)} == {200}
    assert len(paths) == count
