"""An HTTP load generator with keep-alive connections, and an upstream for the gateway. Both run in
separate processes.

Without a rate, each connection sends the next request after the response to the previous request.
With a rate, the requests are due at regular intervals, and the response time includes the time for
which a due request waits for the previous response.

Both share the machine with the gateway, so only the ratios between the rows of a table are
meaningful.
"""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvloop

CONNECTIONS = 64
#: Replaced in each request with another number.
NUMBER = b"{number}"
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100


@dataclass(frozen=True)
class Result:
    """Requests per second, latency percentiles, the number of responses other than 200, and the
    number of all responses.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    failed: int
    requests: int


class _Connection(asyncio.Protocol):
    """due: time of the first request. interval_s: time between due requests, or 0."""

    def __init__(
        self,
        request: bytes,
        due: float,
        interval_s: float,
        until: float,
        times: list[float],
        failed: list[int],
    ) -> None:
        self.request, self.until, self.times, self.failed = request, until, times, failed
        self.due, self.interval_s = due, interval_s
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.is_constant = NUMBER not in request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's transports.
        self.transport = cast(asyncio.Transport, transport)
        self.send_when_due()

    def send_when_due(self) -> None:
        now = time.perf_counter()
        if self.interval_s == 0:
            self.due = now
        if self.due > now:
            asyncio.get_running_loop().call_later(self.due - now, self.send)
        else:
            self.send()

    def send(self) -> None:
        self.started = self.due
        self.due += self.interval_s
        number = b"%d" % len(self.times)
        self.transport.write(
            self.request if self.is_constant else self.request.replace(NUMBER, number)
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        position = head.lower().find(b"content-length:")
        length = int(head[position + 15 :].split(b"\r\n", 1)[0]) if position >= 0 else 0
        if len(body) < length:
            return
        now = time.perf_counter()
        self.times.append(now - self.started)
        if not head.startswith(b"HTTP/1.1 200"):
            self.failed[0] += 1
        self.buffer = b""
        if max(now, self.due) < self.until:
            self.send_when_due()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


class _Upstream(asyncio.Protocol):
    """Returns 100 bytes for every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(_REPLY * data.count(b"\r\n\r\n"))


def measure(port: int, request: bytes, *, seconds: float = 3.0) -> Result:
    """Run the generator for `seconds` after a warm-up of a third of that time, and return the
    result.
    """
    measure_once(port, request, seconds / 3)
    return measure_once(port, request, seconds)


def measure_once(port: int, request: bytes, seconds: float, rate: float = 0) -> Result:
    """Run the generator without a warm-up. rate: requests per second of all connections, or 0."""
    command = [
        sys.executable,
        "-m",
        "bench.gateway.load_generator",
        str(port),
        str(seconds),
        str(rate),
    ]
    result = subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True)
    return Result(**json.loads(result.stdout))


async def _generate(port: int, request: bytes, seconds: float, rate: float) -> Result:
    times: list[float] = []
    failed = [0]
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    interval_s = CONNECTIONS / rate if rate else 0.0

    def connection(number: int) -> _Connection:
        due = started + interval_s * number / CONNECTIONS
        return _Connection(request, due, interval_s, started + seconds, times, failed)

    connections = [
        await loop.create_connection(partial(connection, number), "127.0.0.1", port)
        for number in range(CONNECTIONS)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in connections))
    elapsed_s = time.perf_counter() - started
    times.sort()
    p50_s, p99_s = times[len(times) // 2], times[len(times) * 99 // 100]
    return Result(len(times) / elapsed_s, p50_s * 1000, p99_s * 1000, failed[0], len(times))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        uvloop.run(_serve(int(sys.argv[1])))
    outcome = uvloop.run(
        _generate(int(sys.argv[1]), sys.stdin.buffer.read(), float(sys.argv[2]), float(sys.argv[3]))
    )
    print(json.dumps(outcome.__dict__))
