"""Throughput, CPU time and latency of the gateway under realistic load, in relation to nginx and to
Envoy without the gateway, and the check that no ratio has become worse.

All rows are measured in turn, several times, so that disturbances affect all rows equally. The
ratio of a row is the median of the rounds. Absolute rates depend on the machine; `ratios.json`
therefore stores ratios, and the CPU time for docs/capacity.md.
"""

import json
import os
import shutil
import socket
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http.client import HTTPResponse
from pathlib import Path
from tempfile import TemporaryDirectory

from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import Pepper, build
from rich.console import Console
from rich.table import Table

from bench.gateway.environment import FILES, Environment, cpu_s, environment, limit
from bench.gateway.load import CONNECTIONS, Requests, Result, measure, measure_websockets

#: Results of the last stored run.
STORED = Path(__file__).with_name("ratios.json")

ROUNDS, SECONDS = 5, 2.0
KEYS, REQUESTS = 5_000, 50_000
CORE = "/cores/docs/"
_STATIC, _PROXY = "nginx, return 200", "nginx, proxy_pass"
_ENVOY = "Envoy without the gateway"

#: A rate below this part of the stored ratio is a regression, and a CPU time of which the stored
#: ratio is below this part. The ratios of two runs on one machine differ by up to a tenth.
TOLERANCE = 0.8


@dataclass(frozen=True)
class Row:
    """A row of the table.

    requests: returns the file with the requests. stream: sends messages for a time instead. pid: of
    the gateway. baseline: row of nginx. expected: status or text in the response to the first
    request; empty for TLS.
    """

    url: str
    requests: Callable[[], Path] | None
    pid: int | None = None
    baseline: str = ""
    expected: str = "200"
    connections: int = CONNECTIONS
    stream: Callable[[float], Result] | None = None

    def run(self, seconds: float = SECONDS, *, rate: float = 0) -> Result:
        if self.stream is not None:
            return self.stream(seconds)
        assert self.requests is not None
        file = self.requests()
        return measure(self.url, file, seconds, connections=self.connections, rate=rate)


@dataclass(frozen=True)
class Measurement:
    """Result of a row in a round, and the CPU microseconds of the gateway and of its Envoy per
    request.
    """

    result: Result
    cpu_us: float
    envoy_us: float


def missing() -> list[str]:
    return [name for name in ("nginx", "wrk") if shutil.which(name) is None]


def main(*, workers: int, check: bool, store: bool) -> None:
    """Measures and prints a table. Raises SystemExit if `check` is set and a ratio is worse."""
    with environment(workers) as env, TemporaryDirectory() as folder:
        table = rows(env, Requests(Path(folder)))
        rounds, half = _measure(table)
    ratios = {
        name: statistics.median(
            each[name].result.rps / each[row.baseline].result.rps for each in rounds
        )
        for name, row in table.items()
        if row.baseline
    }
    cpu_ratios = {
        name: statistics.median(each[name].cpu_us / each[_ENVOY].cpu_us for each in rounds)
        for name, row in table.items()
        if row.pid and name != _ENVOY
    }
    _show(workers, table, rounds, half, ratios, cpu_ratios)
    if store:
        measured = [name for name, row in table.items() if row.pid]
        stored = {
            "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
            "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
            "cpu_ratios": {name: round(ratio, 2) for name, ratio in cpu_ratios.items()},
            "cpu_us": {name: round(_median(rounds, name).cpu_us) for name in measured},
            "envoy_us": {name: round(_median(rounds, name).envoy_us) for name in measured},
            "half_ms": {
                name: [round(half[name].p50_ms, 1), round(half[name].p99_ms, 1)]
                for name in measured
                if name in half
            },
        }
        STORED.write_text(json.dumps(stored, indent=2) + "\n")
    if check:
        before = json.loads(STORED.read_text())
        worse = [
            *regressions(ratios, before["ratios"]),
            *regressions(_inverse(cpu_ratios), _inverse(before["cpu_ratios"]), "1 / CPU"),
        ]
        if worse:
            raise SystemExit(
                "\n".join(["These ratios are worse than in bench/gateway/ratios.json:", *worse])
            )


def _inverse(ratios: dict[str, float]) -> dict[str, float]:
    return {name: 1 / ratio for name, ratio in ratios.items()}


def regressions(ratios: dict[str, float], stored: dict[str, float], what: str = "") -> list[str]:
    """A line for each stored row whose ratio is missing, or lower than TOLERANCE allows."""
    return [
        f"  {name} {what}".rstrip() + f": {ratios.get(name, 0):.3f}, stored: {ratio:.3f}"
        for name, ratio in stored.items()
        if ratios.get(name, 0) < ratio * TOLERANCE
    ]


def rows(env: Environment, requests: Requests) -> dict[str, Row]:
    """The rows by name: KEYS keys drawn by Zipf's law, with one or two limits of different sizes
    that are never reached.
    """
    tokens = env.create_keys([_limits(rank) for rank in range(KEYS)])
    other = Pepper({1: os.urandom(32)}, 1)
    unknown = [
        build(
            "gtk", KeyEnvironment.TEST, os.urandom(9), os.urandom(32), pepper=other, generation=1
        ).text
        for _ in range(KEYS)
    ]
    drawn, denied = requests.zipf(tokens, REQUESTS), requests.zipf(unknown, REQUESTS)
    verified = cache(lambda: requests.verifications(drawn))
    proxied = cache(lambda: requests.proxied(drawn, CORE))
    row = partial(Row, env.gateway, pid=env.pids["gateway"], baseline=_STATIC)
    websockets = partial(
        measure_websockets,
        f"{env.gateway.replace('http', 'ws', 1)}/cores/echo/",
        tokens[0],
        env.websocket_port,
    )
    result = {
        _STATIC: Row(env.nginx, verified),
        "JSON": row(verified, expected='"code":"VALID"'),
        "JSON, TLS": Row(env.tls, verified, env.pids["tls"], _STATIC, ""),
        "JSON, denied": row(
            cache(lambda: requests.verifications(denied)), expected='"code":"NOT_FOUND"'
        ),
        "proxy, denied": row(cache(lambda: requests.proxied(denied, CORE)), expected="401"),
        _PROXY: Row(env.nginx, proxied),
        _ENVOY: Row(env.envoy, proxied, env.pids["envoy"], _PROXY),
        "proxy": row(proxied, baseline=_PROXY),
    }
    for name in FILES:
        file = cache(partial(requests.proxied, drawn[:1000], f"{CORE}files/{name}"))
        baseline = f"{_PROXY}, {name}"
        result[baseline] = Row(env.nginx, file, connections=16)
        result[f"proxy, {name}"] = row(file, baseline=baseline, connections=16)
    result["WebSocket round trip"] = row(None, baseline="", stream=websockets)
    return result


def _limits(rank: int) -> list[dict[str, object]]:
    """Rate limits of the key with this rank, which are larger than its share of the load."""
    largest = 10_000_000 if rank < 100 else 1_000 if rank < 1_000 else 100
    return [limit(largest), limit(10**9, window_s=86_400)][: 1 + rank % 2]


def _measure(table: dict[str, Row]) -> tuple[list[dict[str, Measurement]], dict[str, Result]]:
    """The measurements of each round, and the results of the main rows at half of their rate."""
    for name, row in table.items():
        row.run()
        if row.requests and row.expected and row.expected not in _response(row.url, row.requests()):
            raise SystemExit(f"{name}: the response does not contain {row.expected}")
    rounds = []
    for _ in range(ROUNDS):
        each = {}
        for name, row in table.items():
            before = cpu_s(row.pid) if row.pid else (0, 0)
            result = row.run()
            after = cpu_s(row.pid) if row.pid else (0, 0)
            used_us = [(b - a) / result.requests * 1e6 for a, b in zip(before, after, strict=True)]
            each[name] = Measurement(result, *used_us)
        rounds.append(each)
    half = {
        name: table[name].run(2 * SECONDS, rate=_median(rounds, name).result.rps / 2)
        for name in (_STATIC, "JSON", "JSON, TLS", _PROXY, _ENVOY, "proxy")
    }
    return rounds, half


def _median(rounds: Sequence[dict[str, Measurement]], name: str) -> Measurement:
    return sorted((each[name] for each in rounds), key=lambda each: each.result.rps)[
        len(rounds) // 2
    ]


def _show(
    workers: int,
    table: dict[str, Row],
    rounds: Sequence[dict[str, Measurement]],
    half: dict[str, Result],
    ratios: dict[str, float],
    cpu_ratios: dict[str, float],
) -> None:
    title = (
        f"{workers} worker(s), {KEYS:,} keys by Zipf's law; {ROUNDS} rounds of {SECONDS:.0f} s "
        "in turn"
    )
    latencies = ("p50 ms", "p99 ms", "p50 ms at half the rate", "p99 ms at half the rate")
    compared = "of nginx", "CPU of Envoy"
    shown = Table("", "requests/s", "CPU us", "Envoy us", *latencies, "failed", *compared)
    shown.title = title
    for name, row in table.items():
        median = _median(rounds, name)
        result = median.result
        failed = sum(each[name].result.failed for each in rounds)
        shown.add_row(
            name,
            f"{result.rps:,.0f}",
            f"{median.cpu_us:.0f}" if row.pid else "",
            f"{median.envoy_us:.0f}" if row.pid else "",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{half[name].p50_ms:.2f}" if name in half else "",
            f"{half[name].p99_ms:.2f}" if name in half else "",
            "" if row.expected == "401" else str(failed),
            f"{ratios[name]:.3f}" if name in ratios else "",
            f"{cpu_ratios[name]:.2f}" if name in cpu_ratios else "",
        )
    Console(width=180).print(shown)


def _response(url: str, file: Path) -> str:
    """Status and body of the response to the repeated first request of a file."""
    host, _, port = url.partition("://")[2].partition(":")
    with file.open("rb") as opened:
        request = opened.read(int(opened.readline()))
    for _ in range(2):
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            text = f"{response.status} {response.read(1000).decode('latin-1')}"
    return text
