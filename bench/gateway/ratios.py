"""Throughput of the gateway relative to a server without any logic, CPU time per request, and the
check that no ratio has become lower.

All rows are measured in turn, several times, so that disturbances affect all rows equally. The
ratio of a row is the median of the rounds. Absolute rates depend on the machine; `ratios.json`
therefore stores ratios only. A slower network, kernel or machine changes all rows.
"""

import json
import os
import statistics
from datetime import UTC, datetime
from pathlib import Path

from bench.gateway.environment import endpoint_requests, environment, request, show
from bench.gateway.load_generator import Result, measure_once

#: Ratios of the last stored run.
STORED = Path(__file__).with_name("ratios.json")

_ROUNDS, _SECONDS = 5, 2.0
_BASELINE = "server without logic"
_UNKEY = "Unkey, verification"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

#: A ratio below this part of the stored ratio is a regression. The ratios of two runs on one
#: machine differ by up to a tenth.
TOLERANCE = 0.8


def main(*, check: bool, store: bool) -> None:
    """Measures and prints a table. Raises SystemExit if `check` is set and a ratio is too low."""
    rounds, half = _measure()
    ratios = {
        name: statistics.median(row[name][0].rps / row[_BASELINE][0].rps for row in rounds)
        for name in rounds[0]
    }
    cells = []
    for name, ratio in ratios.items():
        results = [row[name][0] for row in rounds]
        median = sorted(results, key=lambda result: result.rps)[len(rounds) // 2]
        cpu_us = statistics.median(row[name][1] for row in rounds)
        cells.append(
            (
                name,
                f"{median.rps:,.0f}",
                f"{cpu_us:.0f}" if name in half else "",
                f"{median.p50_ms:.2f}",
                f"{median.p99_ms:.2f}",
                f"{half[name].p99_ms:.2f}" if name in half else "",
                str(sum(result.failed for result in results)),
                f"{ratio:.3f}",
                f"{ratio / ratios[_UNKEY]:.2f}" if _UNKEY in ratios else "",
            )
        )
    title = (
        f"one worker: HMAC, scopes, two rate limits in Redis, usage, metrics, log; "
        f"{_ROUNDS} rounds in turn"
    )
    latencies = ("p50 ms", "p99 ms", "p99 ms at half the rate")
    columns = ("", "requests/s", "CPU us", *latencies, "failed", f"of {_BASELINE}", "of Unkey")
    show(title, columns, cells)
    if store:
        stored = {
            "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
            "ratios": {name: round(ratios[name], 3) for name in half},
        }
        STORED.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    if check and (
        lower := regressions(ratios, json.loads(STORED.read_text(encoding="utf-8"))["ratios"])
    ):
        raise SystemExit(
            "\n".join(["These ratios are lower than in bench/gateway/ratios.json:", *lower])
        )


def regressions(ratios: dict[str, float], stored: dict[str, float]) -> list[str]:
    """A line for each stored row whose ratio is missing, or lower than TOLERANCE allows."""
    return [
        f"  {name}: {ratios.get(name, 0):.3f}, stored: {ratio:.3f}"
        for name, ratio in stored.items()
        if ratios.get(name, 0) < ratio * TOLERANCE
    ]


def _measure() -> tuple[list[dict[str, tuple[Result, float]]], dict[str, Result]]:
    """Return the result and the CPU microseconds of the gateway per request, for each round and
    row, and the results of the gateway at half of its rate.
    """
    with environment() as env:
        gateway = {
            name: (env.gateway_port, content)
            for name, content in endpoint_requests(env.token).items()
        }
        targets = {**gateway, _BASELINE: (env.upstream_port, request("/"))}
        if unkey := _unkey():
            targets[_UNKEY] = unkey
        for port, content in targets.values():  # warm-up
            measure_once(port, content, 1.0)
        rounds = []
        for _ in range(_ROUNDS):
            row = {}
            for name, (port, content) in targets.items():
                before_s = _cpu_s(env.gateway_pid)
                result = measure_once(port, content, _SECONDS)
                row[name] = result, (_cpu_s(env.gateway_pid) - before_s) / result.requests * 1e6
            rounds.append(row)
        half = {
            name: measure_once(port, content, _SECONDS, rounds[-1][name][0].rps / 2)
            for name, (port, content) in gateway.items()
        }
    return rounds, half


def _cpu_s(pid: int) -> float:
    """User and system time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _unkey() -> tuple[int, bytes] | None:
    """Port of a local Unkey API server and a verification request, if UNKEY_PORT, UNKEY_ROOT_KEY
    and UNKEY_KEY are set.

    Source: Unkey API reference, `POST /v2/keys.verifyKey`.
    """
    port, root_key, key = (
        os.environ.get(f"UNKEY_{name}", "") for name in ("PORT", "ROOT_KEY", "KEY")
    )
    if not (port and root_key and key):
        return None
    headers = (f"Authorization: Bearer {root_key}", "Content-Type: application/json")
    return int(port), request("/v2/keys.verifyKey", *headers, body={"key": key})
