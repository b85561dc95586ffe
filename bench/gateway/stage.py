"""Sets the stage for a measurement: PostgreSQL, Redis and one gateway worker as in production, a key, an upstream."""

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
from gatehouse.db.connection import login
from gatehouse.db.migrations import runner
from gatehouse.keys.models import KeyEnvironment
from rich.console import Console
from rich.table import Table

from bench.gateway.load import Result
from sandbox import child_processes
from sandbox.local import servers
from sandbox.local.ports import free_port

_SERVE = "from gatehouse import server, settings; server.serve(['gateway'], settings.load())"
_UPSTREAM = Path(__file__).with_name("upstream.py")
#: Two limits on each decision, neither of which is ever reached.
_LIMITS = [{"name": name, "quota": 10_000_000, "window_s": 1, "burst": 10_000_000} for name in ("burst", "quota")]


@dataclass(frozen=True)
class Stage:
    gateway_port: int
    upstream_port: int
    token: str
    gateway_pid: int
    database_url: str
    pepper: Pepper


@contextmanager
def stage(workers: int = 1, upstream_port: int | None = None) -> Iterator[Stage]:
    """`upstream_port`: where the Core will be; without it, an upstream of our own is started."""
    pepper = secrets.token_bytes(32)
    with servers.postgres() as postgres, servers.redis() as redis, TemporaryDirectory() as folder:
        asyncio.run(runner.migrate(login(postgres.owner_url, "url")))
        gateway_port, ours = free_port(), upstream_port is None
        upstream_port = upstream_port or free_port()
        environment = {
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
            "gateway", [sys.executable, "-c", _SERVE], log=Path(folder) / "gateway.log", env=environment
        )
        command = [sys.executable, str(_UPSTREAM), str(upstream_port)]
        upstream = child_processes.start("upstream", command, log=Path(folder) / "up.log") if ours else None
        try:
            child_processes.wait_until(gateway, lambda: _answers(gateway_port), "ready", 60)
            held = Pepper({1: pepper}, 1)
            token = asyncio.run(_prepare(postgres.app_url, held, upstream_port))
            yield Stage(gateway_port, upstream_port, token, gateway.pid, postgres.app_url, held)
        finally:
            gateway.stop()
            if upstream is not None:
                upstream.stop()


def show(title: str, floor: str, rows: dict[str, Result]) -> None:
    """The table; every ratio is to the row `floor` of the same run."""
    table = Table("", "requests/s", "p50 ms", "p99 ms", "failed", f"ratio to {floor}", title=title)
    for name, row in rows.items():
        ratio = f"{row.rps / rows[floor].rps:.2f}"
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


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False
