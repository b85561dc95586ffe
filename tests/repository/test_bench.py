"""Throughput ratios and requests of the benchmark."""

import json
from pathlib import Path

import pytest
from gatehouse.core.token import Pepper

from bench.gateway import ratios
from bench.gateway.environment import Environment
from bench.gateway.load import Requests


class WithoutServers(Environment):
    def create_keys(self, limits: object) -> list[str]:
        assert isinstance(limits, list)
        return [f"token-{number}" for number in range(len(limits))]


@pytest.fixture
def table(tmp_path: Path) -> dict[str, ratios.Row]:
    pids = {"gateway": 1, "tls": 2, "envoy": 3}
    env = WithoutServers(
        "http://a", "https://a", "http://b", "http://c", pids, "", Pepper({1: bytes(32)}, 1), 3
    )
    return ratios.rows(env, Requests(tmp_path))


def test_lower_or_missing_ratio_is_a_regression() -> None:
    stored = {"a": 0.5, "b": 0.1, "c": 0.2}
    assert ratios.regressions(
        {"a": 0.5 * ratios.TOLERANCE, "b": 0.1 * ratios.TOLERANCE - 0.001}, stored
    ) == ["  b: 0.079, stored: 0.100", "  c: 0.000, stored: 0.200"]


def test_every_row_of_the_gateway_has_a_stored_ratio(table: dict[str, ratios.Row]) -> None:
    stored = json.loads(ratios.STORED.read_text())
    assert stored["ratios"].keys() == {name for name, row in table.items() if row.baseline}
    assert stored["cpu_us"].keys() == {name for name, row in table.items() if row.pid}
    assert all(0 < ratio < 2 for ratio in stored["ratios"].values())


@pytest.mark.requirement("CG-10", "TR-15")
def test_no_two_requests_of_the_realistic_load_are_equal(table: dict[str, ratios.Row]) -> None:
    for name in ("JSON", "proxy"):
        write = table[name].requests
        assert write is not None
        with write().open("rb") as file:
            requests = [file.read(int(size)) for size in file]
        assert len(set(requests)) == len(requests) == ratios.REQUESTS
        assert all(b"X-Amzn-Trace-Id: Root=1-" in request for request in requests)
