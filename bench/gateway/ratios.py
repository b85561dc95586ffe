"""Throughput and CPU time of the gateway under realistic load, in relation to nginx and Unkey, and
the check that no ratio has become lower.

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
from typing import Any

from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.token import Pepper, build
from rich.console import Console
from rich.table import Table

from bench.gateway.environment import FILES, Environment, cpu_s, environment, limit, memory_bytes
from bench.gateway.load import Requests, Result, measure
from bench.gateway.unkey import create_keys

#: Results of the last stored run.
STORED = Path(__file__).with_name("ratios.json")

ROUNDS, SECONDS = 5, 2.0
KEYS, MANY_KEYS, NEW_KEYS = 5_000, 100_000, 40_000
REQUESTS = 50_000
CORE = "/cores/docs/"
_STATIC, _PROXY, _UNKEY = "nginx, return 200", "nginx, proxy_pass", "Unkey, JSON"

#: A ratio below this part of the stored ratio is a regression. The ratios of two runs on one
#: machine differ by up to a tenth.
TOLERANCE = 0.8


@dataclass(frozen=True)
class Row:
    """A row of the table.

    requests: returns the file with the requests, also for each round if `is_new`. pid: of the
    gateway. baseline: row of nginx. expected: status or text in the
    response to the first request.
    """

    url: str
    requests: Callable[[], Path]
    pid: int | None = None
    baseline: str = ""
    expected: str = "200"
    is_new: bool = False
    connections: int = 64
    warm_up_s: float = 2


@dataclass(frozen=True)
class Measurement:
    """Result of a row in a round, and the CPU microseconds of the gateway per request."""

    result: Result
    cpu_us: float


def missing() -> list[str]:
    return [name for name in ("nginx", "wrk") if shutil.which(name) is None]


def main(*, workers: int, check: bool, store: bool) -> None:
    """Measures and prints a table. Raises SystemExit if `check` is set and a ratio is too low."""
    with environment(workers) as env, TemporaryDirectory() as folder:
        table = rows(env, Requests(Path(folder)))
        rounds, half, key_bytes = _measure(table)
    ratios = {
        name: statistics.median(
            each[name].result.rps / each[row.baseline].result.rps for each in rounds
        )
        for name, row in table.items()
        if row.baseline
    }
    _show(workers, table, rounds, half, ratios)
    print(f"A cached key with the counters of its limits takes {key_bytes:.0f} bytes.")
    if store:
        cpu_us = {name: round(_median(rounds, name).cpu_us) for name in ratios}
        stored = {
            "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
            "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
            "cpu_us": cpu_us,
            "of_unkey": _of_unkey(table, rounds),
        }
        STORED.write_text(json.dumps(stored, indent=2) + "\n")
    if check and (lower := regressions(ratios, json.loads(STORED.read_text())["ratios"])):
        raise SystemExit(
            "\n".join(["These ratios are lower than in bench/gateway/ratios.json:", *lower])
        )


def _of_unkey(table: dict[str, Row], rounds: Sequence[dict[str, Measurement]]) -> dict[str, float]:
    """The rates of the verifications in relation to that of Unkey. Empty without Unkey."""
    if _UNKEY not in table:
        return {}
    unkey = _median(rounds, _UNKEY).result.rps
    names = [name for name, row in table.items() if row.baseline == _STATIC]
    return {name: round(_median(rounds, name).result.rps / unkey, 2) for name in names}


def regressions(ratios: dict[str, float], stored: dict[str, float]) -> list[str]:
    """A line for each stored row whose ratio is missing, or lower than TOLERANCE allows."""
    return [
        f"  {name}: {ratios.get(name, 0):.3f}, stored: {ratio:.3f}"
        for name, ratio in stored.items()
        if ratios.get(name, 0) < ratio * TOLERANCE
    ]


def rows(env: Environment, requests: Requests) -> dict[str, Row]:
    """The rows by name. `realistic`: KEYS keys drawn by Zipf's law, with one or two limits of
    different sizes that are never reached.
    """
    sizes = [_limits(rank) for rank in range(KEYS)]
    tokens, many = env.create_keys(sizes), env.create_keys([_limits(KEYS)] * MANY_KEYS)
    small = env.create_keys([[limit(10**9, burst=5)]] * KEYS)
    limited = env.create_keys([[limit(1, window_s=86_400)]] * KEYS)
    other = Pepper({1: os.urandom(32)}, 1)
    unknown = [
        build(
            "gtk", KeyEnvironment.TEST, os.urandom(9), os.urandom(32), pepper=other, generation=1
        ).text
        for _ in range(KEYS)
    ]
    verify, proxied = requests.verifications, requests.proxied
    drawn = requests.zipf(tokens, REQUESTS)
    realistic = cache(lambda: verify(drawn))
    to_core = cache(lambda: proxied(drawn, CORE))

    def row(file: Callable[[], Path], baseline: str = _STATIC, **options: Any) -> Row:
        return Row(env.gateway, file, env.pids["gateway"], baseline, **options)

    def verified(tokens: Sequence[str], code: str = "VALID", **options: Any) -> Row:
        return row(lambda: verify(tokens), expected=f'"code":"{code}"', **options)

    result = {
        _STATIC: Row(env.nginx, realistic),
        "JSON": row(realistic),
        "JSON, TLS": Row(env.tls, realistic, env.pids["tls"], _STATIC, ""),
        "JSON, identical": verified(tokens[:1]),
        "JSON, 100,000 keys, uniform": verified(many, warm_up_s=15),
        "JSON, first request of a key": row(
            lambda: verify(env.create_keys([_limits(KEYS)] * NEW_KEYS)), is_new=True
        ),
        "JSON, burst of 5": verified(small),
        "JSON, rate limited": verified(requests.zipf(limited, REQUESTS), "RATE_LIMITED"),
        "JSON, unknown key": verified(requests.zipf(unknown, REQUESTS), "NOT_FOUND"),
        "JSON, malformed token": verified(
            [token[:-1] for token in requests.zipf(unknown, REQUESTS)], "NOT_FOUND"
        ),
        "header": row(lambda: requests.header_verifications(drawn)),
        _PROXY: Row(env.nginx, to_core),
        "proxy": row(to_core, _PROXY),
    }
    for name in FILES:
        file = cache(partial(requests.proxied, drawn[:1000], f"{CORE}files/{name}"))
        baseline = f"{_PROXY}, {name}"
        result[baseline] = Row(env.nginx, file, connections=16)
        result[f"proxy, {name}"] = row(file, baseline, connections=16)
    if unkey := create_keys(KEYS):
        result[_UNKEY] = Row(unkey.url, lambda: unkey.verifications(requests, REQUESTS))
    return result


def _limits(rank: int) -> list[dict[str, object]]:
    """Rate limits of the key with this rank, which are larger than its share of the load."""
    largest = 10_000_000 if rank < 100 else 1_000 if rank < 1_000 else 100
    return [limit(largest), limit(10**9, window_s=86_400)][: 1 + rank % 2]


def _measure(
    table: dict[str, Row],
) -> tuple[list[dict[str, Measurement]], dict[str, Result], float]:
    """The measurements of each round, the results of the main rows at half of their rate, and the
    bytes of memory for each of MANY_KEYS keys.
    """
    key_bytes, files = 0.0, {}
    for name, row in table.items():
        files[name] = row.requests()
        before = memory_bytes(row.pid) if row.pid else 0
        measure(row.url, files[name], row.warm_up_s, connections=row.connections)
        if row.expected and row.expected not in _response(row.url, files[name]):
            raise SystemExit(f"{name}: the response does not contain {row.expected}")
        if row.warm_up_s > 2 and row.pid:
            key_bytes = (memory_bytes(row.pid) - before) / MANY_KEYS
    rounds = []
    for _ in range(ROUNDS):
        each = {}
        for name, row in table.items():
            file = row.requests() if row.is_new else files[name]
            before_s = cpu_s(row.pid) if row.pid else 0
            result = measure(row.url, file, SECONDS, connections=row.connections)
            used_s = cpu_s(row.pid) - before_s if row.pid else 0
            each[name] = Measurement(result, used_s / result.requests * 1e6)
            if row.is_new:
                file.unlink()
        rounds.append(each)
    half = {
        name: measure(
            table[name].url, files[name], SECONDS, rate=_median(rounds, name).result.rps / 2
        )
        for name in (_STATIC, "JSON", "header", "proxy", _UNKEY)
        if name in table
    }
    return rounds, half, key_bytes


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
) -> None:
    title = (
        f"{workers} worker(s), {KEYS:,} keys by Zipf's law unless stated otherwise; {ROUNDS} "
        f"rounds of {SECONDS:.0f} s in turn"
    )
    latencies = ("p50 ms", "p99 ms", "p99 ms at half the rate")
    shown = Table(
        "", "requests/s", "CPU us", *latencies, "failed", "of nginx", "of Unkey", title=title
    )
    of_unkey = _of_unkey(table, rounds)
    for name, row in table.items():
        median = _median(rounds, name)
        result = median.result
        shown.add_row(
            name,
            f"{result.rps:,.0f}",
            f"{median.cpu_us:.0f}" if row.pid else "",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{half[name].p99_ms:.2f}" if name in half else "",
            str(sum(each[name].result.failed for each in rounds)),
            f"{ratios[name]:.3f}" if name in ratios else "",
            f"{of_unkey[name]:.2f}" if name in of_unkey else "",
        )
    Console(width=140).print(shown)


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
