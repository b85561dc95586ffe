"""Starts a sample Core with an API key that the management API issues."""

from collections.abc import Mapping
from pathlib import Path

import httpx

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import services
from sandbox.paths import REPOSITORY
from sandbox.ports import PLAIN_HTTP

NAME = "docs"
FOLDER = REPOSITORY / "examples" / "core-files"
"""The files that the sample Core serves."""

_RESPONSE_S = 10.0


def issue_key(console: str, admin_token: str, name: str, scopes: list[str]) -> str:
    """Create a key for this Core and return its token. Raises SandboxError with the problem that
    the management API returns.
    """
    body = {"name": name, "owner": "sandbox", "scopes": scopes, "cores": [NAME]}
    headers = {"Authorization": f"Bearer {admin_token}"}
    try:
        response = httpx.post(
            f"{console}/v1/keys",
            json=body,
            headers=headers,
            timeout=_RESPONSE_S,
            trust_env=False,
            verify=PLAIN_HTTP,
        )
        content = response.json()
        if not response.is_success:
            reason = (
                f"{response.status_code} {content.get('title', '')} {content.get('detail', '')}"
            ).strip()
            raise SandboxError(f"The management API did not issue the key of the Core: {reason}")
        return str(content["token"])
    except (httpx.HTTPError, ValueError, KeyError) as problem:
        raise SandboxError(
            f"The management API did not issue the key of the Core: {type(problem).__name__}."
        ) from None


def start(gateway: str, token: str, log: Path) -> child_processes.Child:
    """Start `gatehouse core`. The key is passed in the environment, since arguments are visible to
    every user.
    """
    command = ["gatehouse", "core", "--dir", str(FOLDER), "--gateway", gateway, "--name", NAME]
    env = {**child_processes.plain_environment(), "GATEHOUSE_CORE_TOKEN": token}
    return child_processes.start("core", command, env=env, log=log)


def wait_ready(child: child_processes.Child, gateway: str, headers: Mapping[str, str]) -> None:
    """Wait until the gateway lists the files of the Core."""
    url = f"{gateway}/cores/{NAME}/files"
    child_processes.wait_until(
        child, lambda: services.returns_200(url, headers), "registered with the gateway", 20.0
    )
