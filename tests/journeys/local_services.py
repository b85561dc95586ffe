"""A gateway and a console on a local database."""

import base64
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from sandbox import child_processes
from sandbox.local import servers, services
from sandbox.ports import HOST, PLAIN_HTTP, free_port
from tests import processes

GATEHOUSE = str(Path(sys.executable).parent / "gatehouse")
TOKEN = "gtk_admin_" + secrets.token_hex(24)
_READY_S = 60.0


def generations() -> str:
    return json.dumps(
        {"current": 1, "generations": {"1": base64.b64encode(secrets.token_bytes(32)).decode()}}
    )


SESSION_KEY = generations()


@dataclass(frozen=True)
class Services:
    gateway: str
    console: str

    def manage(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        response = httpx.request(
            method,
            self.console + path,
            json=body,
            headers=headers,
            timeout=60,
            trust_env=False,
            verify=PLAIN_HTTP,
        )
        assert response.status_code < 300, response.text
        content: dict[str, Any] = response.json()
        return content

    def issue(self, name: str) -> tuple[str, str]:
        created = self.manage("POST", "/v1/keys", {"name": name})
        return created["key"]["id"], created["token"]

    def code(self, token: str) -> str:
        response = httpx.post(
            f"{self.gateway}/v1/keys/verify",
            json={"token": token},
            timeout=60,
            trust_env=False,
            verify=PLAIN_HTTP,
        )
        return str(response.json()["code"])

    def audit_verification(self) -> dict[str, Any]:
        environ = {
            **os.environ,
            "GATEHOUSE_CONSOLE_URL": self.console,
            "GATEHOUSE_ADMIN_TOKEN": TOKEN,
        }
        command = [GATEHOUSE, "audit", "verify", "--json"]
        result = processes.run(command, env=environ)
        verified: dict[str, Any] = json.loads(result.stdout)
        return verified


def environment(url: str, **more: str) -> dict[str, str]:
    return {
        **child_processes.plain_environment(),
        "GATEHOUSE_ENVIRONMENT": "dev",
        "GATEHOUSE_DATABASE_URL": f"{url}?sslmode=disable",
        "GATEHOUSE_DATABASE_AUTH": "url",
        "GATEHOUSE_BIND": "127.0.0.1",
        **more,
    }


def migrate(server: servers.Postgres, log: Path, **more: str) -> None:
    child_processes.run(
        "the migration", [GATEHOUSE, "migrate"], env=environment(server.owner_url, **more), log=log
    )


def dump(server: servers.Postgres, file: Path) -> None:
    _run(server, "pg_dump", "--format=custom", f"--file={file}", servers.DATABASE)


def restore(server: servers.Postgres, file: Path) -> None:
    """Restore a dump into an empty database. Raises SandboxError with the first error."""
    options = (
        "--exit-on-error",
        "--single-transaction",
        "--no-owner",
        f"--dbname={servers.DATABASE}",
    )
    _run(server, "pg_restore", *options, str(file))


def _run(server: servers.Postgres, tool: str, *arguments: str) -> None:
    connection = (
        f"--host={HOST}",
        f"--port={server.port}",
        f"--username={servers.OWNER_ROLE}",
        "--no-password",
    )
    env = {**child_processes.plain_environment(), "PGPASSWORD": server.owner_password}
    child_processes.run(
        tool,
        [str(server.binaries / tool), *connection, *arguments],
        env=env,
        log=server.folder / f"{tool}.log",
    )


@contextmanager
def running_services(
    server: servers.Postgres, pepper: str, log: Path, session_key: str = SESSION_KEY, **more: str
) -> Iterator[Services]:
    ports = {service: free_port() for service in ("gateway", "console")}
    env = environment(
        server.app_url,
        GATEHOUSE_PEPPER=pepper,
        GATEHOUSE_SESSION_KEY=session_key,
        GATEHOUSE_BOOTSTRAP_TOKEN=TOKEN,
        **{f"GATEHOUSE_{service.upper()}_PORT": str(port) for service, port in ports.items()},
        **more,
    )
    found = Services(*(f"http://127.0.0.1:{port}" for port in ports.values()))
    child = child_processes.start(
        "services", [GATEHOUSE, "serve", *ports], env=env, log=log / "services.log"
    )
    try:
        for url in (f"{found.gateway}/readyz", f"{found.console}/readyz"):
            ready = partial(services.returns_200, url)
            child_processes.wait_until(child, ready, f"ready at {url}", _READY_S)
        yield found
    finally:
        child.stop()
