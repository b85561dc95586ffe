"""One running `sandbox up` for every journey, in a folder of its own, so that a developer's own `make up` is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
UP_S_MAX = 400


@dataclass(frozen=True, slots=True)
class Running:
    """What `.gatehouse/up.json` says, and the folder that it lies in."""

    home: Path
    gateway: str
    console: str
    emulator: str
    admin_token: str
    stack: str

    def manage(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """A call of the management API as the first administrator."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        return httpx.request(method, self.console + path, json=body, headers=headers, timeout=30)

    def open(self, token: str, path: str = "/files") -> httpx.Response:
        """A client's request to the sample Core, through the gateway."""
        return httpx.get(f"{self.gateway}/cores/docs{path}", headers={"X-API-Key": token}, timeout=30)

    def key(self, **properties: Any) -> tuple[str, str]:
        """(id, token) of a new key."""
        answer = self.manage("POST", "/v1/keys", {"name": "journey", **properties})
        assert answer.status_code == 201, answer.text
        return answer.json()["key"]["id"], answer.json()["token"]


def sandbox(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=UP_S_MAX, check=False)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    started = sandbox(home, "up", "--env", "dev", "--detach")
    assert started.returncode == 0, started.stdout[-4000:] + started.stderr[-4000:]
    try:
        told = json.loads((home / "up.json").read_text())
        yield Running(home, told["gateway"], told["console"], told["emulator"], told["admin_token"], told["stack"])
    finally:
        stopped = sandbox(home, "down")
    assert stopped.returncode == 0, stopped.stderr
