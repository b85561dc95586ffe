"""CPU time of the gateway per request. capacity.md is computed from the stored result."""

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.gateway.environment import endpoint_requests, environment, show
from bench.gateway.load_generator import measure_once

RESULT = Path(__file__).with_name("capacity.json")
_SECONDS = 4.0
_RUNS = 3
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """cpu_us: CPU microseconds of the gateway per request, user and system time. rps: requests per
    second of one worker that shares the machine with the load generator, Redis and PostgreSQL.
    half_p50_ms, half_p99_ms: response times at half of this rate.
    """

    name: str
    cpu_us: float
    rps: float
    p99_ms: float
    half_p50_ms: float = 0.0
    half_p99_ms: float = 0.0


def main(*, store: bool) -> None:
    """Measure and print the CPU time. store: write the result for capacity.md."""
    with environment() as env:
        requests = endpoint_requests(env)
        for content in requests.values():  # warm-up
            measure_once(env.gateway_port, content, 1.0)
        runs = [
            [
                _measure(name, env.gateway_port, env.gateway_pid, content)
                for name, content in requests.items()
            ]
            for _ in range(_RUNS)
        ]
        rows = [
            sorted(column, key=lambda row: row.cpu_us)[_RUNS // 2]
            for column in zip(*runs, strict=True)
        ]
        rows = [_measure_half(env.gateway_port, row, requests[row.name]) for row in rows]
    cells = [
        (
            row.name,
            f"{row.cpu_us:,.0f}",
            f"{row.rps:,.0f}",
            *(f"{ms:.1f}" for ms in (row.p99_ms, row.half_p50_ms, row.half_p99_ms)),
        )
        for row in rows
    ]
    columns = (
        "",
        "CPU us",
        "requests/s",
        "p99 ms",
        "p50 ms at half the rate",
        "p99 ms at half the rate",
    )
    show("one gateway worker, 64 connections, median of three runs", columns, cells)
    if store:
        result = {
            "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
            "rows": [asdict(row) for row in rows],
        }
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _measure(name: str, port: int, pid: int, content: bytes) -> Row:
    before_s = _cpu_s(pid)
    result = measure_once(port, content, _SECONDS)
    return Row(
        name,
        round((_cpu_s(pid) - before_s) / result.requests * 1e6, 1),
        round(result.rps),
        round(result.p99_ms, 1),
    )


def _measure_half(port: int, row: Row, content: bytes) -> Row:
    """Adds the response times at half of the rate: the run with the median 99th percentile."""
    runs = [measure_once(port, content, _SECONDS, row.rps / 2) for _ in range(_RUNS)]
    result = sorted(runs, key=lambda run: run.p99_ms)[_RUNS // 2]
    return replace(row, half_p50_ms=round(result.p50_ms, 1), half_p99_ms=round(result.p99_ms, 1))


def _cpu_s(pid: int) -> float:
    """User and system time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S
