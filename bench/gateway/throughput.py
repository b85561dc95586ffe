"""Measures throughput and memory of the gateway by number of cached keys."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import asyncpg

from bench.gateway.environment import Environment, create_keys, environment, request, show
from bench.gateway.load_generator import Result, measure

KEYS_MIN = 100
_CHANGES_READ = (
    "SELECT (SELECT min(confirmed_seq) FROM gateway_worker) >= (SELECT "
    "max(change_seq) FROM api_key)"
)


@dataclass(frozen=True)
class Step:
    """Measurements for one number of cached keys. memory_mib: memory of all gateway processes."""

    keys: int
    memory_mib: float
    single: Result


def cached_keys(keys: int) -> None:
    with environment() as env:
        empty_mib = _memory_mib(env)
        tokens: list[str] = []
        steps = []
        for number in (KEYS_MIN, keys):
            tokens += asyncio.run(create_keys(env.database_url, env.pepper, number - len(tokens)))
            asyncio.run(_changes_read(env.database_url))
            steps.append(_measure(env, tokens))
    first = steps[0]
    rows = []
    for step in steps:
        added = step.keys - first.keys
        rows.append(
            (
                f"{step.keys:,}",
                *(
                    f"{step.single.rps:,.0f}",
                    f"{step.single.rps / first.single.rps:.2f}",
                    f"{step.single.p99_ms:.1f}",
                ),
                f"{step.memory_mib:,.0f}",
                f"{(step.memory_mib - first.memory_mib) * 2**20 / added:,.0f}" if added else "",
            )
        )
    columns = (
        "keys",
        "verify/s",
        "ratio",
        "p99 ms",
        "memory MiB",
        "bytes per key",
    )
    show("gateway by number of cached keys", columns, rows)
    failed = sum(step.single.failed for step in steps)
    print(
        f"memory: all gateway processes; {empty_mib:,.0f} MiB without keys. Failed requests: "
        f"{failed}"
    )


async def _changes_read(database_url: str) -> None:
    """Wait until the workers have read the new keys, each of which is an announced change."""
    connection = await asyncpg.connect(database_url)
    async with asyncio.timeout(60):
        while not await connection.fetchval(_CHANGES_READ):
            await asyncio.sleep(0.1)
    await connection.close()


def _measure(env: Environment, tokens: Sequence[str]) -> Step:
    _verify_all(env, tokens)
    body = {"token": secrets.choice(tokens)}
    single = measure(env.gateway_port, request("/v1/keys/verify", body=body))
    return Step(len(tokens), _memory_mib(env), single)


def _verify_all(env: Environment, tokens: Sequence[str]) -> None:
    """Verify every key once, so that the gateway caches it."""
    connection = HTTPConnection("127.0.0.1", env.gateway_port, timeout=30)
    for token in tokens:
        connection.request("POST", "/v1/keys/verify", json.dumps({"token": token, "cost": 0}))
        if not json.load(connection.getresponse())["valid"]:
            raise SystemExit("a created key is not valid")
    connection.close()


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
