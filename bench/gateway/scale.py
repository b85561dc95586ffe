"""Throughput and memory of the gateway with 100 and with 100,000 keys: `python -m bench.gateway.scale`."""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import asyncpg
from gatehouse.crypto.token import build_marked
from gatehouse.keys.models import KeyEnvironment
from rich.console import Console
from rich.table import Table

from bench.gateway.environment import Environment, environment
from bench.gateway.load_generator import Result, measure

STEPS = (100, 100_000)
_BATCH = 100
_COLUMNS = (
    "id",
    "digest",
    "pepper_generation",
    "id_generation",
    "environment",
    "state",
    "name",
    "owner",
    "scopes",
    "cores",
    "limits",
)
_LIMITS = json.dumps([{"name": "requests", "quota": 10_000_000, "window_s": 60, "burst": 10_000_000}])


def main() -> None:
    rows: list[tuple[int, float, Result, Result]] = []
    with environment() as env:
        tokens: list[str] = []
        empty = _memory_mib(env)
        for step in STEPS:
            tokens += asyncio.run(_fill(env, step - len(tokens)))
            _load(env, tokens)
            sample = [secrets.choice(tokens) for _ in range(_BATCH)]
            single = measure(env.gateway_port, _request("/v1/keys/verify", {"token": secrets.choice(tokens)}))
            batch = measure(env.gateway_port, _request("/v1/keys/verify-batch", {"keys": [{"token": token} for token in sample]}))
            rows.append((step, _memory_mib(env), single, batch))
    table = Table(
        "keys",
        "verify/s",
        "ratio",
        "p99 ms",
        "batches/s",
        "ratio",
        "memory MiB",
        "bytes per key",
        title="gateway by number of cached keys",
    )
    for step, mib, single, batch in rows:
        grown = f"{(mib - rows[0][1]) * 2**20 / (step - STEPS[0]):,.0f}" if step != STEPS[0] else ""
        first = rows[0]
        table.add_row(
            f"{step:,}",
            f"{single.rps:,.0f}",
            f"{single.rps / first[2].rps:.2f}",
            f"{single.p99_ms:.1f}",
            f"{batch.rps:,.0f}",
            f"{batch.rps / first[3].rps:.2f}",
            f"{mib:,.0f}",
            grown,
        )
    Console(width=110).print(table)
    failed = sum(single.failed + batch.failed for _, _, single, batch in rows)
    print(f"memory: all gateway processes; {empty:,.0f} MiB without keys. Failed requests: {failed}")


async def _fill(env: Environment, number: int) -> list[str]:
    """Insert keys into the database; returns their tokens."""
    tokens = []
    for _ in range(number):
        token = build_marked(
            "gtk", KeyEnvironment.TEST, secrets.token_bytes(9), secrets.token_bytes(32), pepper=env.pepper, generation=1
        )
        assert token is not None
        tokens.append(token)
    records: list[tuple[object, ...]] = [
        (token.id, env.pepper.digest(token.text, 1), 1, 1, "test", "active", "benchmark", "bench", ["cores:read"], [], _LIMITS)
        for token in tokens
    ]
    connection = await asyncpg.connect(env.database_url)
    names = ", ".join(_COLUMNS)
    marks = ", ".join(f"${position + 1}" for position in range(len(_COLUMNS)))
    for start in range(0, len(records), 5000):
        async with connection.transaction():
            await connection.executemany(
                f"INSERT INTO api_key ({names}, created_at, created_by) VALUES ({marks}, now(), 'bench')",  # noqa: S608
                records[start : start + 5000],
            )
    await connection.close()
    return [token.text for token in tokens]


def _load(env: Environment, tokens: Sequence[str]) -> None:
    """Verify every key once, so that the gateway caches it."""
    for start in range(0, len(tokens), _BATCH):
        body = json.dumps({"keys": [{"token": token, "cost": 0} for token in tokens[start : start + _BATCH]]}).encode()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{env.gateway_port}/v1/keys/verify-batch", data=body, timeout=30
        ) as response:
            results = json.load(response)["results"]
        if not all(result["valid"] for result in results):
            raise SystemExit("a created key is not valid")


def _request(path: str, members: object) -> bytes:
    body = json.dumps(members).encode()
    return f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _memory_mib(env: Environment) -> float:
    """Proportional set size of the gateway and its child processes (proc_pid_smaps_rollup(5))."""
    total, pids = 0, [env.gateway_pid]
    while pids:
        pid = pids.pop()
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
    return total / 1024


if __name__ == "__main__":
    main()
