"""Time of denials of issued and unknown key IDs: `python -m bench denials`.

The requests alternate on one connection, so that disturbances affect all of them equally. The time
must not show which key IDs exist.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import time
from collections.abc import Callable

from gatehouse.core.token import ALPHABET, CHECKSUM_CHARS, ID_CHARS, SECRET_CHARS, checksum

from bench.gateway.environment import environment, limit

KEYS, ROUNDS = 50, 5_000


def main() -> None:
    """Measures and prints the times in microseconds."""
    with environment() as env:
        tokens = env.create_keys([[limit(1_000_000)]] * KEYS)
        connection = http.client.HTTPConnection(env.gateway.removeprefix("http://"))
        assert all(_verify(connection, token)[1] == "VALID" for token in tokens)
        stem = len(tokens[0]) - ID_CHARS - SECRET_CHARS - CHECKSUM_CHARS
        ids: dict[str, Callable[[], str]] = {
            "issued": lambda: random.choice(tokens)[stem : stem + ID_CHARS],
            "unknown": lambda: _random(ID_CHARS),
            "issued, again": lambda: random.choice(tokens)[stem : stem + ID_CHARS],
        }
        times: dict[str, list[float]] = {name: [] for name in ids}
        for _ in range(ROUNDS):
            for name in random.sample(sorted(ids), len(ids)):
                text = tokens[0][:stem] + ids[name]() + _random(SECRET_CHARS)
                microseconds, code = _verify(connection, text + checksum(text))
                assert code == "NOT_FOUND"
                times[name].append(microseconds)
    issued = statistics.quantiles(times["issued"], n=10)
    for name, values in times.items():
        tenths = statistics.quantiles(values, n=10)
        ratios = ", ".join(f"{tenths[at] / issued[at]:.3f}" for at in (0, 4))
        print(f"{name}: {tenths[0]:.0f} us, median {tenths[4]:.0f} us, ratios {ratios}")


def _random(length: int) -> str:
    return "".join(random.choices(ALPHABET, k=length))


def _verify(connection: http.client.HTTPConnection, token: str) -> tuple[float, str]:
    """Time of a verification in microseconds, and the code."""
    body = json.dumps({"token": token})
    started = time.perf_counter()
    connection.request("POST", "/v1/keys/verify", body, {"Content-Type": "application/json"})
    content = connection.getresponse().read()
    return (time.perf_counter() - started) * 1e6, json.loads(content)["code"]
