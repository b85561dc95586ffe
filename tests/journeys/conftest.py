"""One `sandbox up` for all end-to-end tests, with its own home folder."""

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
    """The content of `up.json`, and its folder."""

    home: Path
    gateway: str
    console: str
    emulator: str
    admin_token: str
    stack: str

    def manage(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Call the management API with the admin token."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        return httpx.request(method, self.console + path, json=body, headers=headers, timeout=30)

    def open(self, token: str, path: str = "/files") -> httpx.Response:
        """Request the sample Core through the gateway."""
        return httpx.get(f"{self.gateway}/cores/docs{path}", headers={"X-API-Key": token}, timeout=30)

    def key(self, **properties: Any) -> tuple[str, str]:
        """Create a key. Returns its id and token."""
        response = self.manage("POST", "/v1/keys", {"name": "test", **properties})
        assert response.status_code == 201, response.text
        return response.json()["key"]["id"], response.json()["token"]


def running_from(home: Path) -> Running:
    """Read the endpoints that `up` wrote."""
    endpoints = json.loads((home / "up.json").read_text())
    return Running(home, **{name: endpoints[name] for name in ("gateway", "console", "emulator", "admin_token", "stack")})


def sandbox(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", "--home", str(home), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=UP_S_MAX, check=False)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    started = sandbox(home, "up", "--env", "dev", "--detach")
    assert started.returncode == 0, started.stdout[-4000:] + started.stderr[-4000:]
    try:
        yield running_from(home)
    finally:
        stopped = sandbox(home, "down")
    assert stopped.returncode == 0, stopped.stderr
