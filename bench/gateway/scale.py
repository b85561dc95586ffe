"""Whether a gateway is as fast with 100,000 keys as with a hundred, and what one costs in memory: `python -m bench.gateway.scale`."""

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

from bench.gateway.load import Result, measure
from bench.gateway.stage import Stage, stage

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
    with stage() as scene:
        tokens: list[str] = []
        empty = _memory_mib(scene)
        for step in STEPS:
            tokens += asyncio.run(_fill(scene, step - len(tokens)))
            _know(scene, tokens)
            sample = [secrets.choice(tokens) for _ in range(_BATCH)]
            one = measure(scene.gateway_port, _request("/v1/keys/verify", {"token": secrets.choice(tokens)}))
            batch = measure(
                scene.gateway_port, _request("/v1/keys/verify-batch", {"keys": [{"token": token} for token in sample]})
            )
            rows.append((step, _memory_mib(scene), one, batch))
    table = Table(
        "keys",
        "verify/s",
        "ratio",
        "p99 ms",
        "batches/s",
        "ratio",
        "memory MiB",
        "bytes a key",
        title="a gateway, by keys in memory",
    )
    for step, mib, one, batch in rows:
        grown = f"{(mib - rows[0][1]) * 2**20 / (step - STEPS[0]):,.0f}" if step != STEPS[0] else ""
        first = rows[0]
        table.add_row(
            f"{step:,}",
            f"{one.rps:,.0f}",
            f"{one.rps / first[2].rps:.2f}",
            f"{one.p99_ms:.1f}",
            f"{batch.rps:,.0f}",
            f"{batch.rps / first[3].rps:.2f}",
            f"{mib:,.0f}",
            grown,
        )
    Console(width=110).print(table)
    failed = sum(one.failed + batch.failed for _, _, one, batch in rows)
    print(f"memory: of all processes of the gateway; {empty:,.0f} MiB before its first key. Failed requests: {failed}")


async def _fill(scene: Stage, number: int) -> list[str]:
    """Makes keys as the console would, many at once; their tokens."""
    made = []
    for _ in range(number):
        token = build_marked(
            "gtk", KeyEnvironment.TEST, secrets.token_bytes(9), secrets.token_bytes(32), pepper=scene.pepper, generation=1
        )
        assert token is not None
        made.append(token)
    records: list[tuple[object, ...]] = [
        (one.id, scene.pepper.digest(one.text, 1), 1, 1, "test", "active", "a reader", "bench", ["cores:read"], [], _LIMITS)
        for one in made
    ]
    connection = await asyncpg.connect(scene.database_url)
    names = ", ".join(_COLUMNS)
    marks = ", ".join(f"${position + 1}" for position in range(len(_COLUMNS)))
    for start in range(0, len(records), 5000):
        async with connection.transaction():
            await connection.executemany(
                f"INSERT INTO api_key ({names}, created_at, created_by) VALUES ({marks}, now(), 'bench')",  # noqa: S608
                records[start : start + 5000],
            )
    await connection.close()
    return [one.text for one in made]


def _know(scene: Stage, tokens: Sequence[str]) -> None:
    """Has the gateway look every key up, so that it holds them all."""
    for start in range(0, len(tokens), _BATCH):
        body = json.dumps({"keys": [{"token": token, "cost": 0} for token in tokens[start : start + _BATCH]]}).encode()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{scene.gateway_port}/v1/keys/verify-batch", data=body, timeout=30
        ) as reply:
            answers = json.load(reply)["results"]
        if not all(answer["valid"] for answer in answers):
            raise SystemExit("a key that was made is not valid")


def _request(path: str, members: object) -> bytes:
    body = json.dumps(members).encode()
    return f"POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _memory_mib(scene: Stage) -> float:
    """Proportional memory of the gateway and of what it started (proc_pid_smaps_rollup(5))."""
    total, pids = 0, [scene.gateway_pid]
    while pids:
        pid = pids.pop()
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
    return total / 1024


if __name__ == "__main__":
    main()
