"""Environment for the benchmarks: PostgreSQL, Redis, the gateway as in production, API keys, an
upstream and result tables.
"""

import asyncio
import base64
import json
import os
import secrets
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.token import Pepper, build_marked
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login
from rich.console import Console
from rich.table import Table

from bench.gateway.load_generator import NUMBER
from sandbox import child_processes
from sandbox.local import servers
from sandbox.ports import free_port

_SERVE = (
    "from gatehouse.platform import settings; "
    "from gatehouse.platform.http import server; server.serve(['gateway'], settings.load())"
)
_LIMITS = [
    {"name": name, "quota": 10_000_000, "window_s": 1, "burst": 10_000_000}
    for name in ("burst", "quota")
]
"""Rate limits of each key. The limits are never reached."""
_INSERT_KEY = """
INSERT INTO api_key (id, digest, pepper_generation, id_generation, environment, state, name, owner, scopes, cores, limits,
                     created_at, created_by)
VALUES ($1, $2, 1, 1, 'test', 'active', 'bench', 'bench', '{cores:read}', '{}', $3, now(), 'bench')"""  # noqa: E501
_INSERT_CORE = """
INSERT INTO core (name, url, environment, lease_id, registered_by, pepper_generation, expires_at)
VALUES ('docs', $1, 'test', 'bench', $2, 1, now() + interval '1 hour')"""


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
def database() -> Iterator[tuple[dict[str, str], str, Pepper]]:
    """Start PostgreSQL with the current schema. Yields the environment variables for clients, the
    database URL and the pepper.
    """
    pepper = secrets.token_bytes(32)
    with servers.postgres() as postgres:
        asyncio.run(runner.migrate(login(postgres.owner_url, "url")))
        variables = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("GATEHOUSE_")
            },
            "GATEHOUSE_ENVIRONMENT": "bench",
            "GATEHOUSE_DATABASE_URL": postgres.app_url,
            "GATEHOUSE_DATABASE_AUTH": "url",
            "GATEHOUSE_PEPPER": json.dumps(
                {"current": 1, "generations": {"1": base64.b64encode(pepper).decode()}}
            ),
        }
        yield variables, postgres.app_url, Pepper({1: pepper}, 1)


@contextmanager
def environment(
    workers: int = 1,
    upstream_port: int | None = None,
    *,
    limits: int = len(_LIMITS),
) -> Iterator[Environment]:
    """Start the environment and yield it.

    upstream_port: port of the Core; by default, an upstream is started. limits: number of rate
        limits of the key.
    """
    with (
        database() as (variables, url, pepper),
        servers.redis() as redis,
        TemporaryDirectory() as folder,
    ):
        gateway_port, core_port = free_port(), upstream_port or free_port()
        variables |= {
            "GATEHOUSE_REDIS_URL": redis,
            "GATEHOUSE_REDIS_AUTH": "url",
            "GATEHOUSE_CORE_NETWORKS": "127.0.0.0/8",
            "GATEHOUSE_BIND": "127.0.0.1",
            "GATEHOUSE_GATEWAY_PORT": str(gateway_port),
            "GATEHOUSE_WORKERS": str(workers),
        }
        commands = {"gateway": [sys.executable, "-c", _SERVE]}
        if upstream_port is None:
            commands["upstream"] = [
                sys.executable,
                "-m",
                "bench.gateway.load_generator",
                str(core_port),
            ]
        processes = {
            name: child_processes.start(
                name, command, log=Path(folder) / f"{name}.log", env=variables
            )
            for name, command in commands.items()
        }
        try:
            child_processes.wait_until(
                processes["gateway"], lambda: _is_ready(gateway_port), "ready", 60
            )
            [token] = asyncio.run(
                create_keys(url, pepper, 1, core_url=f"http://127.0.0.1:{core_port}", limits=limits)
            )
            yield Environment(gateway_port, core_port, token, processes["gateway"].pid, url, pepper)
        finally:
            for process in processes.values():
                process.stop()


async def create_keys(
    database_url: str,
    pepper: Pepper,
    number: int,
    *,
    core_url: str = "",
    limits: int = len(_LIMITS),
) -> list[str]:
    """Insert keys and, if `core_url` is set, the Core `docs`, registered by the first key. Returns
    the tokens.
    """
    random = ((secrets.token_bytes(9), secrets.token_bytes(32)) for _ in range(number))
    tokens = [
        build_marked("gtk", KeyEnvironment.TEST, id, secret, pepper=pepper, generation=1)
        for id, secret in random
    ]
    column = json.dumps(_LIMITS[:limits])
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        await connection.executemany(
            _INSERT_KEY, [(token.id, pepper.digest(token.text, 1), column) for token in tokens]
        )
        if core_url:
            await connection.execute(_INSERT_CORE, core_url, tokens[0].id)
    await connection.close()
    return [token.text for token in tokens]


def request(path: str, *headers: str, body: object = None) -> bytes:
    """An HTTP request: POST with a JSON body, or GET without a body. body: encoded if it is
    bytes.
    """
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    length = [f"Content-Length: {len(data)}"] if data else []
    lines = [
        f"{'POST' if data else 'GET'} {path} HTTP/1.1",
        "Host: bench",
        *headers,
        *length,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + data


def endpoint_requests(token: str) -> dict[str, bytes]:
    """Return one request for each kind of endpoint, keyed by description."""
    key = f"X-API-Key: {token}"
    return {
        "GET /healthz": request("/healthz"),
        "verification, header": request("/v1/keys/verify", key),
        "verification, JSON": request(
            "/v1/keys/verify", body={"token": token, "scopes": ["cores:read"]}
        ),
        "proxy, response of 100 bytes": request("/cores/docs/", key),
        "proxy, different paths": request(f"/cores/docs/{NUMBER.decode()}", key),
    }


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=130).print(table)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False
