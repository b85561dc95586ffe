"""What a Core gives out, and everything that it refuses."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from gatehouse.agent import names
from gatehouse.agent.tree import Tree
from gatehouse.errors import BadRequest, NotFound
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.agent.conftest import Agent

FOLDER = quote("Ordner mit Ümlaut")
GREETING = f"/files/{FOLDER}/{quote('Grüße & 100%.txt')}"


@pytest.mark.requirement("CG-04")
async def test_the_structure_lists_files_and_directories_with_size_and_time(agent: Agent) -> None:
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


@pytest.mark.parametrize("address", [f"/files?path={FOLDER}", f"/files/{FOLDER}/", f"/files/{FOLDER}"])
async def test_a_directory_is_listed_by_query_or_by_path(agent: Agent, address: str) -> None:
    listing = (await agent.get(address)).json()
    assert listing["path"] == "Ordner mit Ümlaut"
    assert len(listing["entries"]) == 3


@pytest.mark.requirement("CG-05")
async def test_a_name_with_spaces_umlauts_and_a_percent_sign_is_read(agent: Agent) -> None:
    reply = await agent.get(GREETING)
    assert reply.content == "Grüße\n".encode()
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-disposition"].endswith("filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%26%20100%25.txt")


@pytest.mark.requirement("CG-05")
async def test_a_path_is_decoded_exactly_once(agent: Agent) -> None:
    assert (await agent.get("/files/%2541.txt")).text == "percent"
    assert (await agent.get("/files/%41.txt")).status_code == 404


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_a_name_is_found_in_either_unicode_form(agent: Agent, form: str) -> None:
    stored = unicodedata.normalize("NFD", "Café.txt")
    (agent.root / stored).write_text("coffee")
    wanted = unicodedata.normalize(form, "Café.txt")  # type: ignore[arg-type]
    assert (await agent.get(f"/files/{quote(wanted)}")).text == "coffee"


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
        "/files?path=..",
        "/files?path=a/../..",
        "/files?path=%00",
        "/files?path=a&path=b",
        "/files?depth=0",
        "/files?depth=17",
        "/files?other=1",
    ],
)
async def test_a_path_that_is_malformed_or_leads_up_is_a_bad_request(agent: Agent, path: str) -> None:
    reply = await agent.get(path)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")
    assert reply.headers["content-type"] == "application/problem+json"
    assert "outside" not in reply.text


@pytest.mark.parametrize(
    "name", ["link-out", "link-up", "link-in", "link-loop", "link-directory", "link-directory/near.txt", "link-up/outside.txt"]
)
async def test_no_symbolic_link_is_followed(agent: Agent, name: str) -> None:
    reply = await agent.get(f"/files/{name}")
    assert (reply.status_code, reply.json()["code"]) == (403, "not_served")
    assert reply.json()["detail"] == "This is a symbolic link, and only regular files are served"


@pytest.mark.parametrize("name", ["fifo", "socket"])
async def test_what_is_no_regular_file_is_refused_and_not_opened(agent: Agent, name: str) -> None:
    reply = await agent.get(f"/files/{name}")
    assert (reply.status_code, reply.json()["code"]) == (403, "not_served")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
async def test_a_device_is_refused(agent: Agent) -> None:
    os.mknod(agent.root / "null", 0o666 | 0o020000, os.makedev(1, 3))
    assert (await agent.get("/files/null")).json()["code"] == "not_served"


@pytest.mark.parametrize("name", [".env", ".git/config", ".git/", ".git"])
async def test_hidden_names_look_as_if_they_were_not_there(agent: Agent, name: str) -> None:
    hidden, absent = await agent.get(f"/files/{name}"), await agent.get("/files/absent")
    assert (hidden.status_code, hidden.json()["detail"]) == (404, absent.json()["detail"])


@pytest.mark.parametrize("name", ["absent", "page.html/x", "page.html/", "empty/absent"])
async def test_what_is_not_there_is_a_404(agent: Agent, name: str) -> None:
    assert (await agent.get(f"/files/{name}")).status_code == 404


def test_a_link_put_in_the_place_of_a_directory_is_not_entered(root: Path, tmp_path: Path) -> None:
    tree = Tree(root)
    (root / "empty").rmdir()
    (root / "empty").symlink_to(tmp_path)
    with pytest.raises(Exception, match="symbolic link"):
        tree.open(("empty", "outside.txt"))


def test_a_served_directory_that_is_gone_is_told_so(root: Path) -> None:
    with pytest.raises(NotFound, match="not there at the moment"):
        Tree(root / "nowhere").structure((), depth_max=1, entries_max=1)


def test_a_bound_on_entries_cuts_and_says_so(root: Path) -> None:
    listing = Tree(root).structure((), depth_max=16, entries_max=3)
    assert (len(listing.entries), listing.truncated) == (3, True)


def test_a_bound_on_depth_cuts_and_says_so(root: Path) -> None:
    listing = Tree(root).structure((), depth_max=2, entries_max=100)
    assert "Ordner mit Ümlaut/tief" in {entry.path for entry in listing.entries}
    assert listing.truncated
    assert not Tree(root).structure((), depth_max=3, entries_max=100).truncated


def test_a_name_that_is_no_text_is_omitted_and_counted(root: Path) -> None:
    before = Tree(root).structure((), depth_max=16, entries_max=100).omitted
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("latin-1")
    assert Tree(root).structure((), depth_max=16, entries_max=100).omitted == before + 1


def test_no_descriptor_is_left_open_by_refusals(root: Path) -> None:
    tree = Tree(root)
    held = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the directory of descriptors itself
    for wanted in [("absent",), ("link-out",), ("fifo",), ("page.html", "x"), ("link-up", "x"), (".env",)]:
        with pytest.raises(Exception, match=r"served|such file|link|device"):
            tree.open(wanted)
    assert len(os.listdir("/proc/self/fd")) == held  # noqa: PTH208


@given(st.binary(max_size=60))
def test_decoded_names_can_never_lead_out(raw: bytes) -> None:
    try:
        decoded = names.decode(raw)
    except BadRequest:
        return
    assert not any(name in {"", ".", ".."} or "/" in name or "\0" in name for name in decoded)


@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda name: name not in {".", ".."}), min_size=1, max_size=5))
def test_every_name_that_a_file_can_have_survives_encoding(parts: list[str]) -> None:
    if any("\0" in part or "/" in part or len(part.encode()) > names.NAME_BYTES_MAX for part in parts):
        return
    assert names.decode("/".join(quote(part, safe="") for part in parts).encode()) == tuple(parts)
