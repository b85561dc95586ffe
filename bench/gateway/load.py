"""A load generator: keep-alive connections that each send the next request when the answer is there; run as a process of its own.

It shares the machine with the gateway, so absolute numbers mean little; compare rows of one table only.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import cast

import uvloop

CONNECTIONS = 64


@dataclass(frozen=True)
class Result:
    rps: float
    p50_ms: float
    p99_ms: float
    failed: int


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, times: list[float], failed: list[int]) -> None:
        self.request, self.until, self.times, self.failed = request, until, times, failed
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's, whatever the annotation wants.
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        position = head.lower().find(b"content-length:")
        length = int(head[position + 15 :].split(b"\r\n", 1)[0]) if position >= 0 else 0
        if len(body) < length:
            return
        now = time.perf_counter()
        self.times.append(now - self.sent_at)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failed[0] += 1
        self.buffer = b""
        if now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def measure(port: int, request: bytes, *, seconds: float = 3.0) -> Result:
    """Runs the generator in a process of its own, after a warm-up of a third of the time."""
    _run(port, request, seconds / 3)
    return _run(port, request, seconds)


def _run(port: int, request: bytes, seconds: float) -> Result:
    command = [sys.executable, "-m", "bench.gateway.load", str(port), str(seconds)]
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True)
    return Result(**json.loads(done.stdout))


async def _generate(port: int, request: bytes, seconds: float) -> Result:
    times: list[float] = []
    failed = [0]
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    made = [
        await loop.create_connection(lambda: _Connection(request, begun + seconds, times, failed), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    took = time.perf_counter() - begun
    times.sort()
    return Result(len(times) / took, times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000, failed[0])


if __name__ == "__main__":
    outcome = uvloop.run(_generate(int(sys.argv[1]), sys.stdin.buffer.read(), float(sys.argv[2])))
    print(json.dumps(outcome.__dict__))
