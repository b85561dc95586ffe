"""Memory of a gateway worker with many idle connections, and during many requests."""

import asyncio
import resource
import time
from pathlib import Path

import uvloop

from bench.gateway.environment import environment, request, show
from bench.gateway.load_generator import measure_once

#: File descriptors of a process that are not connections.
_OTHER_FILES = 256

_OPENING_MAX_S = 300
_OPENING_AT_ONCE = 64
_SOAK_MAX_S = 4 * 3600
_SLICE_S = 2.0
_ROWS = 10


def idle(connections: int) -> None:
    """Open and close idle connections twice, each after one request, as far as the limit of open
    files allows.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the gateway inherits the limit
    connections = min(connections, hard - _OTHER_FILES)
    settings = {
        "GATEHOUSE_CONNECTIONS_MAX": "65536",
        "GATEHOUSE_ADDRESS_CONNECTIONS_MAX": "65536",
        "GATEHOUSE_LOAD_BALANCER_IDLE_TIMEOUT_S": "4000",
    }
    with environment(settings=settings) as bench:
        rows = uvloop.run(_open(bench.gateway_port, bench.gateway_pid, connections))
    base = rows[0][1]
    cells = [
        (
            name,
            f"{mib:,.1f}",
            "" if name == rows[0][0] else f"{(mib - base) * 1024 / connections:.2f}",
        )
        for name, mib in rows
    ]
    show(f"{connections:,} idle connections", ("", "RSS MiB", "KiB per connection"), cells)


async def _open(port: int, pid: int, connections: int) -> list[tuple[str, float]]:
    data, limit = request("/healthz"), asyncio.Semaphore(_OPENING_AT_ONCE)

    async def connect() -> asyncio.StreamWriter:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            return writer

    rows = []
    async with asyncio.timeout(_OPENING_MAX_S):
        (await connect()).close()
        rows.append(("no connections", rss_mib(pid)))
        for suffix in ("", " again"):
            writers = await asyncio.gather(*(connect() for _ in range(connections)))
            rows.append((f"all open{suffix}", rss_mib(pid)))
            for writer in writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in writers))
            (await connect()).close()
            rows.append((f"all closed{suffix}", rss_mib(pid)))
    return rows


def soak(requests: int) -> None:
    """Send verifications and requests to a Core in turn, and report the memory ten times."""
    with environment() as bench:
        key = f"Authorization: Bearer {bench.token}"
        kinds = (
            request("/v1/keys/verify", body={"token": bench.token, "scopes": ["cores:read"]}),
            request("/v1/keys/verify", key),
            request("/cores/docs/file", key),
        )
        sent, failed, turn, started = 0, 0, 0, time.monotonic()
        rows = [("0", f"{rss_mib(bench.gateway_pid):,.1f}", "0", "0")]
        while sent < requests and time.monotonic() - started < _SOAK_MAX_S:
            result = measure_once(bench.gateway_port, kinds[turn % len(kinds)], _SLICE_S)
            sent, failed, turn = sent + result.requests, failed + result.failed, turn + 1
            if sent >= requests * len(rows) / _ROWS:
                seconds = f"{time.monotonic() - started:,.0f}"
                rows.append(
                    (f"{sent:,}", f"{rss_mib(bench.gateway_pid):,.1f}", str(failed), seconds)
                )
    show(f"Memory during {sent:,} requests", ("requests", "RSS MiB", "failed", "seconds"), rows)


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return (
        int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
        / 1024
    )
