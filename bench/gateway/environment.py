"""Environment of a benchmark: PostgreSQL, Redis, the gateway as in production, an API key and an upstream."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from gatehouse.crypto.token import Pepper, build
from gatehouse.db.migrations import runner
from gatehouse.db.pool import login
from gatehouse.keys.models import KeyEnvironment
from rich.console import Console
from rich.table import Table

from bench.gateway.load_generator import Result
from sandbox import child_processes
from sandbox.local import servers
from sandbox.local.ports import free_port

_SERVE = "from gatehouse import settings; from gatehouse.http import server; server.serve(['gateway'], settings.load())"
_UPSTREAM = Path(__file__).with_name("upstream.py")
_LIMITS = [{"name": name, "quota": 10_000_000, "window_s": 1, "burst": 10_000_000} for name in ("burst", "quota")]
"""Two rate limits for each decision. Neither is reached."""


@dataclass(frozen=True)
class Environment:
    """Ports, credentials and processes of a running environment."""

    gateway_port: int
    upstream_port: int
    token: str
    gateway_pid: int
    database_url: str
    pepper: Pepper


@contextmanager
def environment(workers: int = 1, upstream_port: int | None = None) -> Iterator[Environment]:
    """Start the environment. upstream_port: port of the Core; by default an upstream is started."""
    pepper = secrets.token_bytes(32)
    with servers.postgres() as postgres, servers.redis() as redis, TemporaryDirectory() as folder:
        asyncio.run(runner.migrate(login(postgres.owner_url, "url")))
        gateway_port, start_upstream = free_port(), upstream_port is None
        upstream_port = upstream_port or free_port()
        variables = {
            **os.environ,
            "GATEHOUSE_ENVIRONMENT": "bench",
            "GATEHOUSE_DATABASE_URL": postgres.app_url,
            "GATEHOUSE_DATABASE_AUTH": "url",
            "GATEHOUSE_REDIS_URL": redis,
            "GATEHOUSE_REDIS_AUTH": "url",
            "GATEHOUSE_PEPPER": json.dumps({"current": 1, "generations": {"1": base64.b64encode(pepper).decode()}}),
            "GATEHOUSE_CORE_NETWORKS": "127.0.0.0/8",
            "GATEHOUSE_BIND": "127.0.0.1",
            "GATEHOUSE_GATEWAY_PORT": str(gateway_port),
            "GATEHOUSE_WORKERS": str(workers),
        }
        gateway = child_processes.start(
            "gateway", [sys.executable, "-c", _SERVE], log=Path(folder) / "gateway.log", env=variables
        )
        command = [sys.executable, str(_UPSTREAM), str(upstream_port)]
        upstream = child_processes.start("upstream", command, log=Path(folder) / "up.log") if start_upstream else None
        try:
            child_processes.wait_until(gateway, lambda: _is_ready(gateway_port), "ready", 60)
            peppers = Pepper({1: pepper}, 1)
            token = asyncio.run(_prepare(postgres.app_url, peppers, upstream_port))
            yield Environment(gateway_port, upstream_port, token, gateway.pid, postgres.app_url, peppers)
        finally:
            gateway.stop()
            if upstream is not None:
                upstream.stop()


def show(title: str, baseline: str, rows: dict[str, Result]) -> None:
    """Print a table with ratios to the row `baseline`."""
    table = Table("", "requests/s", "p50 ms", "p99 ms", "failed", f"ratio to {baseline}", title=title)
    for name, row in rows.items():
        ratio = f"{row.rps / rows[baseline].rps:.2f}"
        table.add_row(name, f"{row.rps:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", str(row.failed), ratio)
    Console().print(table)


async def _prepare(database_url: str, pepper: Pepper, upstream_port: int) -> str:
    token = build("gtk", KeyEnvironment.TEST, secrets.token_bytes(9), secrets.token_bytes(32))
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO api_key (id, digest, pepper_generation, environment, state, name, owner, scopes, cores, limits, created_at,"
        " created_by) VALUES ($1, $2, 1, 'test', 'active', 'bench', 'bench', '{cores:read}', '{}', $3, now(), 'bench')",
        token.id,
        pepper.digest(token.text, 1),
        json.dumps(_LIMITS),
    )
    await connection.execute(
        "INSERT INTO core (name, url, environment, lease_id, registered_by, pepper_generation, expires_at)"
        " VALUES ('docs', $1, 'test', 'bench', $2, 1, now() + interval '1 hour')",
        f"http://127.0.0.1:{upstream_port}",
        token.id,
    )
    await connection.close()
    return token.text


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False
