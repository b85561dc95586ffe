"""The local environment and applications as its Cores."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox import child_processes
from sandbox.ports import PLAIN_HTTP, free_port
from tests import processes
from tests.journeys.conftest import Running, environment, running

__all__ = ["environment", "running"]

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "applications"
GUIDE = ROOT / "docs/guides/applications.md"
#: `path` or `host`, and the settings of the Core, by application.
ROWS = {
    name: (reached_by, json.loads(settings))
    for name, reached_by, settings in re.findall(
        r"(?m)^\| (.*?) \| (path|host) \| `(\{.*?\})` \|", GUIDE.read_text()
    )
}


@dataclass(frozen=True)
class Application:
    """A Core. url: its URL at the gateway. folder: its data. token: a key that may use it."""

    gateway: str
    url: str
    folder: Path
    token: str

    @property
    def url_with_key(self) -> str:
        return self.url.replace("://", f"://user:{self.token}@")

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def run(self, *command: str | Path, **variables: str) -> str:
        client = {"URL": self.url, "TOKEN": self.token, "HOME": str(self.folder), **variables}
        if ".localhost:" in self.host:
            # Only browsers and curl resolve subdomains of localhost on every system.
            client |= {"http_proxy": self.gateway, "no_proxy": ""}
        result = processes.run(command, cwd=self.folder, env={**os.environ, **client})
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout


def _installed(versions: str, *commands: Sequence[str]) -> Path:
    """A copy of the folder in which the commands have installed packages. A changed file with
    versions runs them again.
    """
    digest = hashlib.sha256((FOLDER / versions).read_bytes()).hexdigest()[:16]
    folder = ROOT / ".gatehouse/compatibility" / digest
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    if not complete.exists():
        for command in commands:
            subprocess.run(command, cwd=folder, check=True)
        complete.touch()
    return folder


@pytest.fixture(scope="session")
def python() -> Path:
    """The folder with the programs of requirements.txt."""
    uv = shutil.which("uv", path=f"{ROOT / '.gatehouse/tools/bin'}:{os.environ['PATH']}")
    assert uv is not None
    install = (uv, "pip", "install", "--quiet", "--python", "venv", "-r", "requirements.txt")
    venv = (uv, "venv", "--quiet", "--seed", "venv")
    return _installed("requirements.txt", venv, install) / "venv/bin"


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder with the scripts of this folder and the packages of package-lock.json."""
    return _installed("package-lock.json", ("npm", "ci", "--no-audit", "--no-fund", "--silent"))


@pytest.fixture(scope="module")
def agent(running: Running) -> str:
    return running.key(scopes=["cores:register"])[1]


@pytest.fixture
def application(
    running: Running, agent: str, tmp_path: Path
) -> Iterator[Callable[..., Application]]:
    """Starts a program and registers it as a Core with the settings of the guide. `{port}` and
    `{path}` in its arguments become its port and its path at the gateway. application_key: key that
    the gateway adds, and the application requires in `SERVER_KEY`.
    """
    started = []

    def start(title: str, *command: str | Path, application_key: str = "") -> Application:
        name, port = title.lower().replace(" ", "-"), free_port()
        reached_by, settings = ROWS[title]
        path = f"/cores/{name}" if reached_by == "path" else ""
        gateway_port = urlsplit(running.gateway).port
        url = f"{running.gateway}{path}" if path else f"http://{name}.localhost:{gateway_port}"
        values = {"port": port, "path": path}
        arguments = [str(argument).format(**values) for argument in command]
        log = tmp_path / "application.log"
        variables = {"HOME": str(tmp_path), "SERVER_KEY": application_key}
        child = child_processes.start(
            name, arguments, log=log, env={**os.environ, **variables}, cwd=tmp_path
        )
        started.append(child)
        origin = f"http://127.0.0.1:{port}"
        child_processes.wait_until(child, lambda: _listens(origin), "ready", 60)
        if application_key:
            credential = {"url": origin, "value": f"Bearer {application_key}"}
            running.store_credential(name, credential)
        reply = httpx.put(
            f"{running.gateway}/v1/cores/{name}",
            json={"url": origin, "ttl_s": 300, "settings": settings},
            headers={"Authorization": f"Bearer {agent}"},
            timeout=60,
            verify=PLAIN_HTTP,
        )
        assert reply.status_code == 200, reply.text
        _, token = running.key(
            scopes=["cores:read"], limits=[{"name": "requests", "quota": 10_000, "window_s": 60}]
        )
        return Application(running.gateway, url, tmp_path, token)

    yield start
    for child in started:
        child.stop()


def _listens(origin: str) -> bool:
    try:
        httpx.get(origin, timeout=60, verify=PLAIN_HTTP)
    except httpx.HTTPError:
        return False
    return True
