"""The check of the throughput ratios."""

from __future__ import annotations

import json

from bench.gateway import ratios
from bench.gateway.environment import endpoint_requests


def test_lower_or_missing_ratio_is_a_regression() -> None:
    stored = {"a": 0.5, "b": 0.1, "c": 0.2}
    assert ratios.regressions(
        {"a": 0.5 * ratios.TOLERANCE, "b": 0.1 * ratios.TOLERANCE - 0.001}, stored
    ) == [
        "  b: 0.079, stored: 0.100",
        "  c: 0.000, stored: 0.200",
    ]


def test_every_endpoint_has_a_stored_ratio() -> None:
    stored = json.loads(ratios.STORED.read_text(encoding="utf-8"))["ratios"]
    assert stored.keys() == endpoint_requests("token").keys()
    assert all(0 < ratio < 1 for ratio in stored.values())
