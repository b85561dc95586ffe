"""Measures the CPU time of a verification by each client, beside that of a request by its HTTP
library: `python -m bench clients`. TypeScript is measured if the client is built.
"""

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from gatehouse_client import AsyncGatewayClient, GatewayClient

from tests.clients.gateways import STATES, Gateway, serving

COUNT, ROUNDS, CONCURRENCY = 1600, 5, 16
REQUEST: dict[str, Any] = {"scopes": ["orders:read"], "address": "192.0.2.7", "method": "GET"}
TOKEN = f"gtk_test_{'a' * 61}"
BODY = {"token": TOKEN, "cost": 1, **REQUEST}
_CLIENT = Path(__file__).parents[2] / "clients/typescript/dist/index.js"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Gateway(Path(folder), {"valid": STATES["valid"]})) as urls,
    ):
        url = urls["valid"]
        with GatewayClient(url) as client, httpx.Client() as library:
            programs: dict[str, Callable[[], object]] = {
                "GatewayClient": lambda: [client.verify(TOKEN, **REQUEST) for _ in range(COUNT)],
                "httpx.Client": lambda: [
                    library.post(f"{url}/v1/keys/verify", json=BODY).json() for _ in range(COUNT)
                ],
                "AsyncGatewayClient": lambda: asyncio.run(_verifications(url)),
                "httpx.AsyncClient": lambda: asyncio.run(_requests(url)),
            }
            rounds = [{name: _cpu_ms(run) for name, run in programs.items()} for _ in range(ROUNDS)]
        for name in programs:
            print(f"{name:20} {statistics.median(each[name] for each in rounds):.2f} ms")
        if _CLIENT.exists():
            script = str(Path(__file__).with_suffix(".mjs"))
            values = (str(_CLIENT), url, str(COUNT), str(ROUNDS), str(CONCURRENCY))
            subprocess.run(("node", script, *values), check=True)


def _cpu_ms(run: Callable[[], object]) -> float:
    """Of this thread: the server has another one."""
    start = time.thread_time()
    run()
    return (time.thread_time() - start) / COUNT * 1000


async def _verifications(url: str) -> None:
    async with AsyncGatewayClient(url) as client:
        await _concurrently(lambda: client.verify(TOKEN, **REQUEST))


async def _requests(url: str) -> None:
    async with httpx.AsyncClient() as client:
        await _concurrently(lambda: client.post(f"{url}/v1/keys/verify", json=BODY))


async def _concurrently(call: Callable[[], Awaitable[Any]]) -> None:
    async def repeat() -> None:
        for _ in range(COUNT // CONCURRENCY):
            await call()

    await asyncio.gather(*(repeat() for _ in range(CONCURRENCY)))
