"""Throughput of the gateway relative to a server without any logic, and the check that no ratio has
become lower.

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
#: Result of the last run.
RESULT = Path(".gatehouse/bench.json")

_ROUNDS, _SECONDS = 5, 2.0
_BASELINE = "server without logic"
_UNKEY = "Unkey, verification"

#: A ratio below this part of the stored ratio is a regression. The ratios of two runs on one
#: machine differ by up to a tenth.
TOLERANCE = 0.8


def main(*, check: bool, store: bool) -> None:
    """Measures, prints a table and writes RESULT. Raises SystemExit if `check` is set and a ratio
    is too low.
    """
    rounds = _measure()
    ratios = {
        name: statistics.median(row[name].rps / row[_BASELINE].rps for row in rounds)
        for name in rounds[0]
    }
    cells, rows = [], {}
    for name, ratio in ratios.items():
        median = sorted((row[name] for row in rounds), key=lambda result: result.rps)[
            len(rounds) // 2
        ]
        rps, p50_ms, p99_ms = round(median.rps), round(median.p50_ms, 2), round(median.p99_ms, 2)
        failed = sum(row[name].failed for row in rounds)
        rows[name] = {
            "rps": rps,
            "p50_ms": p50_ms,
            "p99_ms": p99_ms,
            "failed": failed,
            "ratio": round(ratio, 3),
        }
        of_unkey = f"{ratio / ratios[_UNKEY]:.2f}" if _UNKEY in ratios else ""
        cells.append(
            (
                name,
                f"{rps:,}",
                f"{p50_ms:.2f}",
                f"{p99_ms:.2f}",
                str(failed),
                f"{ratio:.3f}",
                of_unkey,
            )
        )
    title = (
        f"one worker: HMAC, scopes, two rate limits in Redis, usage, metrics, log; "
        f"{_ROUNDS} rounds in turn"
    )
    columns = ("", "requests/s", "p50 ms", "p99 ms", "failed", f"of {_BASELINE}", "of Unkey")
    show(
        title,
        columns if _UNKEY in ratios else columns[:-1],
        [row if _UNKEY in ratios else row[:-1] for row in cells],
    )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"Result: {RESULT}")
    if store:
        _store(ratios)
    if check and (
        lower := regressions(ratios, json.loads(STORED.read_text(encoding="utf-8"))["ratios"])
    ):
        raise SystemExit(
            "\n".join(["These ratios are lower than in bench/gateway/ratios.json:", *lower])
        )


def _store(ratios: dict[str, float]) -> None:
    """Keeps the last measured ratios to Unkey if Unkey was not measured."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    measured_at = f"{datetime.now(UTC):%Y-%m-%d}"
    own = {name: ratio for name, ratio in ratios.items() if name not in (_BASELINE, _UNKEY)}
    stored |= {
        "measured_at": measured_at,
        "ratios": {name: round(ratio, 3) for name, ratio in own.items()},
    }
    if _UNKEY in ratios:
        of_unkey = {name: round(ratio / ratios[_UNKEY], 2) for name, ratio in own.items()}
        stored["unkey"] = {"measured_at": measured_at, "ratios": of_unkey}
    STORED.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def regressions(ratios: dict[str, float], stored: dict[str, float]) -> list[str]:
    """A line for each stored row whose ratio is missing, or lower than TOLERANCE allows."""
    return [
        f"  {name}: {ratios.get(name, 0):.3f}, stored: {ratio:.3f}"
        for name, ratio in stored.items()
        if ratios.get(name, 0) < ratio * TOLERANCE
    ]


def _measure() -> list[dict[str, Result]]:
    with environment() as env:
        targets = {
            name: (env.gateway_port, content) for name, content in endpoint_requests(env).items()
        }
        targets[_BASELINE] = (env.upstream_port, request("/"))
        if unkey := _unkey():
            targets[_UNKEY] = unkey
        for port, content in targets.values():  # warm-up
            measure_once(port, content, 1.0)
        return [
            {
                name: measure_once(port, content, _SECONDS)
                for name, (port, content) in targets.items()
            }
            for _ in range(_ROUNDS)
        ]


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
