"""The built web UI."""

import gzip
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from gatehouse.services.console.routes import document
from gatehouse.services.console.web import FOLDER, WebFiles

from tests import requires
from tests.runtime.console_client import Console

ROOT = Path(__file__).resolve().parents[4]
FIRST_LOAD_MAX, CHUNK_MAX, STYLE_MAX = 64 * 1024, 25 * 1024, 12 * 1024

#: Size of all files without compression. A browser loads a part of them, so this bound detects only
#: files that are included by mistake.
TOTAL_MAX = 400 * 1024
DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "vue",
}


def assets(suffix: str) -> dict[str, bytes]:
    return {
        name: file.content for name, file in WebFiles.read().assets.items() if name.endswith(suffix)
    }


def first_load() -> set[str]:
    index = WebFiles.read().index
    assert index is not None
    return set(re.findall(r'"/assets/([^"]+\.js)"', index.content.decode()))


def compressed(content: bytes) -> int:
    return len(gzip.compress(content, 9))


@requires.WEB_UI
@pytest.mark.parametrize("path", ["/", "/keys", "/keys/new", "/keys/3fGh82kLmQ0a"])
async def test_pages_are_served_with_a_strict_policy(console: Console, path: str) -> None:
    reply = await console.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["cache-control"] == "no-store"
    policy = dict(
        directive.split(" ", 1)
        for directive in reply.headers["content-security-policy"].split("; ")
    )
    assert policy == DIRECTIVES
    assert "Set-Cookie" not in reply.headers


@requires.WEB_UI
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/keys/a/b",
        "/assets/nothing.js",
        "/assets/",
        "/assets/..%2findex.html",
        "/index.html",
    ],
)
async def test_other_paths_are_not_found(console: Console, path: str) -> None:
    reply = await console.get(path)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json")


@requires.WEB_UI
async def test_browser_receives_a_page_at_an_unknown_address(console: Console) -> None:
    accept = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    known = await console.get("/", headers=accept)
    for path in ("/nothing", "/keys/a/b", "/key", "/v2/keys"):
        reply = await console.get(path, headers=accept)
        assert (reply.status_code, reply.text) == (404, known.text)
        for name in ("content-type", "cache-control", "content-security-policy", "x-frame-options"):
            assert reply.headers.get(name) == known.headers.get(name)
    for path in ("/v1/nothing", "/v1/keys/a/b", "/assets/nothing.js"):
        reply = await console.get(path, headers=accept)
        assert (reply.status_code, reply.headers["content-type"]) == (
            404,
            "application/problem+json",
        )
    posted = await console.post("/nothing", headers=accept)
    assert (posted.status_code, posted.headers["content-type"]) == (404, "application/problem+json")


@requires.WEB_UI
async def test_assets_are_immutable(console: Console) -> None:
    [name] = [name for name in first_load() if name.startswith("index-")]
    reply = await console.get(f"/assets/{name}")
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["content-type"].partition(";")[0] == "text/javascript"


@requires.WEB_UI
def test_built_files_are_within_the_budgets() -> None:
    scripts, styles = assets(".js"), assets(".css")
    first = first_load()
    assert {"index"} <= {name.partition("-")[0] for name in first}
    assert sum(compressed(scripts[name]) for name in first) <= FIRST_LOAD_MAX
    assert sum(compressed(content) for content in styles.values()) <= STYLE_MAX
    lazy = {name: compressed(content) for name, content in scripts.items() if name not in first}
    assert len(lazy) > 3
    assert max(lazy.values()) <= CHUNK_MAX
    assert sum(len(file.content) for file in WebFiles.read().assets.values()) <= TOTAL_MAX


@requires.WEB_UI
def test_pages_contain_no_inline_code_and_no_foreign_origin() -> None:
    index = WebFiles.read().index
    assert index is not None
    html = index.content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", html) == []
    everything = html + "".join(
        content.decode() for content in {**assets(".js"), **assets(".css")}.values()
    )
    # Namespaces of SVG and MathML, and links in messages of Vue, are never requested.
    origins = set(re.findall(r"https?://([\w.-]+)", everything)) - {"www.w3.org", "vuejs.org"}
    assert origins == set()
    assert re.findall(r"\beval\(|new Function\b", everything) == []


@requires.WEB_UI
async def test_operations_are_those_of_the_openapi_document(console: Console) -> None:
    operations = (await console.get("/operations.json")).json()["operations"]
    declared = {
        operation["operationId"]: (method.upper(), path, operation["x-roles"])
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if "x-roles" in operation
    }
    assert len(declared) > 40
    assert {
        name: (item["method"], item["path"], item["roles"]) for name, item in operations.items()
    } == declared


@requires.WEB_UI
def test_wheel_contains_every_built_file(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # has the version
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "gatehouse"):
        source = ROOT / "runtime" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    (folder / ".git").mkdir()
    (folder / ".gitignore").write_text("static/\n")
    code = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    output = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = zipfile.ZipFile(tmp_path / "out" / output.split()[-1]).namelist()
    expected = {
        f"gatehouse/services/console/static/{path.relative_to(FOLDER)}"
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    assert len(expected) > 10
    assert expected <= set(names)
