"""One `sandbox up` for all end-to-end tests."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from sandbox.ports import PLAIN_HTTP
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
STACK = "dev"
UP_OUTPUT = "up.txt"
UP_S_MAX = 400
PURGE_S_MAX = 60


@dataclass(frozen=True)
class Running:
    home: Path
    gateway: str
    console: str
    sharing: str
    emulator: str
    aws: dict[str, str]
    admin_token: str
    stack: str

    def manage(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        return httpx.request(
            method, self.console + path, json=body, headers=headers, timeout=60, verify=PLAIN_HTTP
        )

    def open(self, token: str, path: str = "/files") -> httpx.Response:
        return httpx.get(
            f"{self.gateway}/cores/docs{path}",
            headers={"X-API-Key": token},
            timeout=60,
            verify=PLAIN_HTTP,
        )

    def key(self, **properties: Any) -> tuple[str, str]:
        response = self.manage("POST", "/v1/keys", {"name": "test", **properties})
        assert response.status_code == 201, response.text
        return response.json()["key"]["id"], response.json()["token"]

    def store_credential(self, core: str, document: Mapping[str, str]) -> None:
        secrets_manager = boto3.client(
            "secretsmanager",
            endpoint_url=self.emulator,
            region_name=self.aws["AWS_REGION"],
            aws_access_key_id=self.aws["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.aws["AWS_SECRET_ACCESS_KEY"],
        )
        name = f"gatehouse/{STACK}/core-credentials/{core}"
        secrets_manager.create_secret(Name=name, SecretString=json.dumps(document))

    def share(self, text: str) -> tuple[str, str]:
        response = self.manage("POST", "/v1/secrets", {"text": text})
        assert response.status_code == 201, response.text
        (link,) = response.json()["links"]
        return response.json()["secret"]["id"], link["url"]

    def open_link(self, link: str, action: str = "open", **body: str) -> httpx.Response:
        return httpx.post(
            f"{self.sharing}/v1/links/{action}",
            json={"link": link, **body},
            timeout=60,
            verify=PLAIN_HTTP,
        )

    def purged(self, secret_id: str) -> dict[str, Any]:
        """Return the secret after its content was deleted, which takes a few seconds."""
        deadline = time.monotonic() + PURGE_S_MAX
        while True:
            secret: dict[str, Any] = self.manage("GET", f"/v1/secrets/{secret_id}").json()
            if secret["state"] == "purged" or time.monotonic() > deadline:
                return secret

    def recorded(self, target_id: str, until: str) -> list[str]:
        """Actions of a resource's audit events, oldest first, once they contain `until`."""
        deadline = time.monotonic() + PURGE_S_MAX
        while True:
            path = f"/v1/audit-events?limit=100&target_id={target_id}"
            events = self.manage("GET", path).json()["events"]
            actions = [event["action"] for event in reversed(events)]
            if until in actions or time.monotonic() > deadline:
                return actions


def sandbox(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]
    return processes.run(command, cwd=ROOT, timeout=UP_S_MAX)


class Environment:
    """The local environment of all modules, which starts when needed, also after it was stopped."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._home: Path | None = None

    def start(self) -> Running:
        if self._home is None:
            self._home = self._folders.mktemp("home")
            started = sandbox(self._home, "up", "--env", STACK, "--detach")
            assert started.returncode == 0, started.stdout[-4000:] + started.stderr[-4000:]
            (self._home / UP_OUTPUT).write_text(started.stdout)
        endpoints = json.loads((self._home / "up.json").read_text())
        names = [each.name for each in fields(Running) if each.name != "home"]
        return Running(self._home, **{name: endpoints[name] for name in names})

    def stop(self) -> str:
        if self._home is None:
            return ""
        home, self._home = self._home, None
        stopped = sandbox(home, "down")
        assert stopped.returncode == 0, stopped.stderr
        return stopped.stdout


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    started = Environment(tmp_path_factory)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def running(environment: Environment) -> Running:
    return environment.start()
