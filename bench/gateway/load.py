"""Requests as a load balancer sends them, and the load generators: wrk, and a client of WebSockets.

Heads and bodies of two requests are never equal: an Application Load Balancer adds a trace ID to
each request, forwards the addresses of clients, and sends the requests of many clients on each of
its connections. Source: Elastic Load Balancing, "HTTP headers and Application Load Balancers".
"""

import asyncio
import json
import random
import re
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from zlib import crc32

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

CONNECTIONS = 64
MESSAGE = bytes(256)
_SCRIPT = Path(__file__).with_name("requests.lua")
_RESULT = re.compile(r"^result (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{} like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148",
    "python-requests/2.{}.0",
    "Go-http-client/1.{}",
    "okhttp/4.{}.0",
)


@dataclass(frozen=True)
class Result:
    """Requests per second, latency percentiles, and the numbers of all requests and of those that
    failed.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


class Requests:
    """Writes requests into files for the load generator. The same seed makes the same requests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._random = random.Random(1)

    def zipf(self, tokens: Sequence[str], number: int) -> list[str]:
        """Tokens drawn by Zipf's law with the exponent 1: the n-th token is used 1/n as often as
        the first.
        """
        weights = list(accumulate(1 / rank for rank in range(1, len(tokens) + 1)))
        return self._random.choices(tokens, cum_weights=weights, k=number)

    def verifications(self, tokens: Iterable[str]) -> Path:
        bodies = (
            {"token": token, "scopes": ["cores:read"], "address": self._address(token)}
            for token in tokens
        )
        return self._write(
            self._request("POST", "/v1/keys/verify", body=json.dumps(body)) for body in bodies
        )

    def proxied(self, tokens: Iterable[str], path: str) -> Path:
        """Requests to a Core. A path that ends with a slash is continued at random."""
        return self._write(
            self._request("GET", self._continued(path), f"Authorization: Bearer {token}")
            for token in tokens
        )

    def _write(self, requests: Iterable[bytes]) -> Path:
        path = self._folder / f"{len(list(self._folder.iterdir()))}.requests"
        with path.open("wb") as file:
            for request in requests:
                file.write(b"%d\n%b" % (len(request), request))
        return path

    def _request(self, method: str, target: str, *headers: str, body: str = "") -> bytes:
        draw = self._random
        seconds, number = 1_800_000_000 + draw.randrange(10**6), draw.getrandbits(96)
        lines = [
            f"X-Forwarded-For: {self._address(str(draw.randrange(10**4)))}",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 443",
            "Host: gateway.example.com",
            f"X-Amzn-Trace-Id: Root=1-{seconds:08x}-{number:024x}",
            f"User-Agent: {draw.choice(_AGENTS).format(draw.randrange(10, 60))}",
            "Accept: application/json, */*;q=0.5",
            "Accept-Encoding: gzip, deflate, br",
            f"X-Request-Id: {draw.getrandbits(128):032x}",
            *headers,
        ]
        if draw.random() < 0.3:
            lines.append(
                f"traceparent: 00-{draw.getrandbits(128):032x}-{draw.getrandbits(64) | 1:016x}-00"
            )
        draw.shuffle(lines)
        if body:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        return "\r\n".join((f"{method} {target} HTTP/1.1", *lines, "", body)).encode()

    def _address(self, client: str) -> str:
        number = crc32(client.encode()) % 2**16
        return f"198.{18 + self._random.randrange(2)}.{number >> 8}.{number & 255}"

    def _continued(self, path: str) -> str:
        number = self._random.randrange(10**6)
        return f"{path}orders/{number}/items?page={number % 7}" if path.endswith("/") else path


def measure(
    url: str, requests: Path, seconds: float, *, connections: int = CONNECTIONS, rate: float = 0
) -> Result:
    """Sends requests for a time. url: origin. rate: mean requests per second; 0: each connection
    sends a request as soon as it has received the response to the previous one.
    """
    pause_ms = round(connections / rate * 1000) if rate else 0
    options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(_SCRIPT), url, "--"]
    output = subprocess.run(
        ["wrk", *options, str(requests), str(pause_ms)], capture_output=True, text=True, check=True
    ).stdout
    match = _RESULT.search(output)
    if match is None:
        raise SystemExit(f"wrk did not measure {url}: {output}")
    number, duration_us, p50_us, p99_us, failed = map(int, match.groups())
    return Result(number / duration_us * 1e6, p50_us / 1000, p99_us / 1000, number, failed)


def measure_websockets(url: str, token: str, port: int, seconds: float) -> Result:
    """Round trips of messages on CONNECTIONS WebSockets to a Core that returns them. port: of the
    Core.
    """
    return asyncio.run(_measure_websockets(url, token, port, seconds))


async def _measure_websockets(url: str, token: str, port: int, seconds: float) -> Result:
    times_ms: list[float] = []

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve(echo, "127.0.0.1", port, compression=None))
        key = {"Authorization": f"Bearer {token}"}
        clients = [
            await stack.enter_async_context(
                connect(url, additional_headers=key, compression=None, proxy=None)
            )
            for _ in range(CONNECTIONS)
        ]
        end = time.perf_counter() + seconds

        async def exchange(number: int) -> None:
            client, began = clients[number], time.perf_counter()
            while began < end:
                await client.send(MESSAGE)
                await client.recv()
                times_ms.append((time.perf_counter() - began) * 1000)
                began = time.perf_counter()

        await asyncio.gather(*map(exchange, range(CONNECTIONS)))
        await asyncio.gather(*(client.close() for client in clients))
    percentiles = statistics.quantiles(times_ms, n=100)
    return Result(len(times_ms) / seconds, percentiles[49], percentiles[98], len(times_ms), 0)
