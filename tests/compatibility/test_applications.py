"""Applications of docs/guides/applications.md with their own clients."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests import requires
from tests.compatibility.conftest import FOLDER, Application
from tests.runtime.services.sharing.chromium import browser

__all__ = ["browser"]

pytestmark = pytest.mark.slow
Start = Callable[..., Application]


def asgi(python: Path, name: str) -> tuple[str | Path, ...]:
    options = ("--port", "{port}", "--root-path", "{path}", "--app-dir", FOLDER)
    return (python / "uvicorn", f"{name}:app", *options)


def test_openai_api(application: Start, python: Path) -> None:
    core = application("OpenAI API", *asgi(python, "openai_api"))
    core.run(python / "python", FOLDER / "openai_client.py")


def test_hosted_openai_api_with_its_own_key(application: Start, python: Path) -> None:
    command = asgi(python, "openai_api")
    core = application("Hosted OpenAI API", *command, application_key="sk-of-the-application")
    core.run(python / "python", FOLDER / "openai_client.py")


@requires.program("npm")
def test_openai_api_with_node(application: Start, python: Path, node: Path) -> None:
    core = application("OpenAI API", *asgi(python, "openai_api"))
    core.run("node", node / "openai_client.mjs")


def test_mcp_server(application: Start, python: Path) -> None:
    core = application("MCP server", python / "python", FOLDER / "mcp_server.py", "{port}")
    core.run(python / "python", FOLDER / "mcp_client.py")


@requires.program("npm")
def test_mcp_server_with_node(application: Start, python: Path, node: Path) -> None:
    core = application("MCP server", python / "python", FOLDER / "mcp_server.py", "{port}")
    core.run("node", node / "mcp_client.mjs")


def test_python_packages(application: Start, python: Path, tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "sample"\nversion = "1.0"\n')
    (tmp_path / "sample.py").write_text("answer = 42\n")
    server = (python / "pypi-server", "run", "-i", "127.0.0.1", "-p", "{port}", "-a", ".")
    core = application("Python package index", *server, "-P", ".", tmp_path / "packages")
    pip = (python / "python", "-m", "pip")
    core.run(*pip, "wheel", "--quiet", "--wheel-dir", "dist", ".")
    user = {"TWINE_USERNAME": "user", "TWINE_PASSWORD": core.token}
    core.run(python / "twine", "upload", "--repository-url", f"{core.url}/", "dist/*", **user)
    index = ("--index-url", f"{core.url_with_key}/simple/", "--trusted-host", core.host)
    core.run(*pip, "install", "--no-cache-dir", *index, "--target", "installed", "sample")
    assert (tmp_path / "installed/sample-1.0.dist-info").is_dir()


@requires.program("npm")
def test_npm_packages(application: Start, node: Path, tmp_path: Path) -> None:
    config = {
        "storage": str(tmp_path / "storage"),
        "packages": {"**": {"access": "$all", "publish": "$all"}},
        "uplinks": {},
        "log": {"type": "stdout", "level": "warn"},
    }
    (tmp_path / "verdaccio.json").write_text(json.dumps(config))
    program = ("node", node / "node_modules/verdaccio/bin/verdaccio", "-l", "127.0.0.1:{port}")
    core = application("npm registry", *program, "-c", tmp_path / "verdaccio.json")
    (tmp_path / "package.json").write_text('{"name": "sample", "version": "1.0.0"}')
    place = core.url.partition(":")[2]
    (tmp_path / ".npmrc").write_text(f"registry={core.url}/\n{place}/:_authToken={core.token}\n")
    core.run("npm", "publish")
    target = tmp_path / "target"
    core.run("npm", "install", "--prefix", target, "sample")
    assert (target / "node_modules/sample/package.json").is_file()


def test_git(application: Start, python: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repositories/sample.git"
    subprocess.run(["git", "init", "--bare", "-q", "-b", "main", repository], check=True)
    subprocess.run(["git", "-C", repository, "config", "http.receivepack", "true"], check=True)
    server = (python / "python", FOLDER / "git_server.py", "{port}", repository.parent)
    core = application("git", *server)
    url = f"{core.url_with_key}/sample.git"
    core.run("git", "init", "-q", "-b", "main", "first")
    (tmp_path / "first/large").write_bytes(bytes(range(256)) * 40_000)
    git = ("git", "-C", "first", "-c", "user.name=a", "-c", "user.email=a@example.com")
    core.run(*git, "add", ".")
    core.run(*git, "commit", "-q", "-m", "first")
    core.run(*git, "push", "-q", url, "main")
    trace = tmp_path / "trace"
    core.run("git", "clone", "--depth", "1", url, "second", GIT_TRACE_PACKET=str(trace))
    assert "< version 2" in trace.read_text()
    assert (tmp_path / "second/large").stat().st_size == 256 * 40_000


def test_s3(application: Start, python: Path) -> None:
    server = (python / "moto_server", "-H", "127.0.0.1", "-p", "{port}")
    core = application("S3 API", *server)
    core.run(python / "python", FOLDER / "s3_client.py")


@requires.program("rclone")
def test_webdav(application: Start, python: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    config = {
        "host": "127.0.0.1",
        "provider_mapping": {"/cores/webdav": str(tmp_path / "files")},
        "simple_dc": {"user_mapping": {"*": True}},
    }
    (tmp_path / "dav.json").write_text(json.dumps(config))
    server = (python / "wsgidav", "--port", "{port}", "--config", tmp_path / "dav.json")
    core = application("WebDAV", *server)
    secret = core.run("rclone", "obscure", core.token).strip()
    remote = f":webdav,url='{core.url}',user=user,pass='{secret}':"
    (tmp_path / "a b.txt").write_text("content")
    core.run("rclone", "copyto", tmp_path / "a b.txt", f"{remote}folder/a b.txt")
    core.run("rclone", "moveto", f"{remote}folder/a b.txt", f"{remote}folder/c.txt")
    assert core.run("rclone", "lsf", "-R", remote).split() == ["folder/", "folder/c.txt"]
    assert core.run("rclone", "cat", f"{remote}folder/c.txt") == "content"


@requires.program("npm")
def test_tus(application: Start, python: Path, node: Path, tmp_path: Path) -> None:
    core = application("tus", "node", node / "tus_server.mjs", "{port}", tmp_path)
    core.run(python / "python", FOLDER / "tus_client.py")


def test_graphql(application: Start, python: Path) -> None:
    core = application("GraphQL", *asgi(python, "graphql_api"))
    core.run(python / "python", FOLDER / "graphql_client.py")


async def test_streamlit_in_a_browser(application: Start, python: Path, browser: Browser) -> None:
    options = ("--server.port", "{port}", "--server.address", "127.0.0.1")
    headless = ("--server.headless", "true", "--server.baseUrlPath", "{path}")
    command = (python / "streamlit", "run", FOLDER / "streamlit_app.py", *options, *headless)
    core = application("Streamlit", *command)
    context = await browser.new_context(
        http_credentials={"username": "user", "password": core.token}
    )
    page = await context.new_page()
    await page.goto(core.url)
    await page.get_by_role("button", name="Add").click()
    await page.get_by_text("Presses: 1").wait_for()
    await context.close()


async def test_jupyter_in_a_browser(application: Start, python: Path, browser: Browser) -> None:
    options = ("--port", "{port}", "--ip", "127.0.0.1", "--no-browser", "--allow-root")
    trust = ("--ServerApp.allow_remote_access", "true", "--IdentityProvider.token", "")
    command = (python / "jupyter", "server", *options, *trust)
    core = application("Jupyter", *command)
    context = await browser.new_context(
        http_credentials={"username": "user", "password": core.token}
    )
    page = await context.new_page()
    await page.goto(f"{core.url}/")
    output = await page.evaluate((FOLDER / "jupyter_kernel.mjs").read_text(), core.url)
    assert output == 2_000_001
    await context.close()
