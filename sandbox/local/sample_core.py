"""Starts the sample Core beside the gateway: its key comes from the console's API, like any other Core's."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import services
from sandbox.paths import REPOSITORY

NAME = "docs"
_ANSWER_S = 10.0


def folder() -> Path:
    """What the sample Core serves.

    Example files if there are any, else the documentation, else the repository itself.
    """
    for candidate in (REPOSITORY / "examples" / "core-files", REPOSITORY / "docs"):
        if candidate.is_dir() and any(candidate.iterdir()):
            return candidate
    return REPOSITORY


def issue_key(console: str, admin_token: str, name: str, scopes: list[str]) -> str:
    """POST /v1/keys for this Core alone; the new key's token. Raises SandboxError with the console's own words."""
    body = json.dumps({"name": name, "owner": "sandbox", "scopes": scopes, "cores": [NAME]}).encode()
    headers = {"Authorization": f"Bearer {admin_token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{console}/v1/keys", data=body, headers=headers, method="POST")  # noqa: S310
    try:
        with services.DIRECT.open(request, timeout=_ANSWER_S) as answer:
            created: dict[str, Any] = json.load(answer)
            return str(created["token"])
    except urllib.error.HTTPError as refusal:
        raise SandboxError(f"The console refused to issue the Core's key: {_reason(refusal)}") from None
    except (urllib.error.URLError, OSError, ValueError, KeyError) as problem:
        raise SandboxError(f"The console did not issue the Core's key: {type(problem).__name__}.") from None


def start(gateway: str, token: str, log: Path) -> child_processes.Child:
    """`gatehouse core` for the sample folder. The key goes by the environment: arguments are visible to every user."""
    command = ["gatehouse", "core", "--dir", str(folder()), "--gateway", gateway, "--name", NAME]
    env = {**services.plain_environment(), "GATEHOUSE_CORE_TOKEN": token}
    return child_processes.start("core", command, env=env, log=log)


def wait_ready(child: child_processes.Child, gateway: str, headers: Mapping[str, str]) -> None:
    """Wait until the gateway lists the Core's files."""
    url = f"{gateway}/cores/{NAME}/files"
    child_processes.wait_until(child, lambda: services.answers(url, headers), "registered at the gateway", 20.0)


def _reason(refusal: urllib.error.HTTPError) -> str:
    try:
        problem: dict[str, Any] = json.load(refusal)
        return f"{refusal.code} {problem.get('title', '')} {problem.get('detail', '')}".strip()
    except ValueError:
        return str(refusal.code)
