"""The CPU time of reading a request or data."""

import pytest

from tools.fuzz.cpu_time import BUDGET_S, Shape, cpu_s, stored, targets

TARGETS = targets()


def test_every_endpoint_with_parameters_is_a_target() -> None:
    expected = {"verify_key body", "create_key body", "create_secret body", "list_keys query"}
    assert {*expected, "requests", "fields", "chunks", "log line"} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_worst_inputs_of_every_endpoint_cost_at_most_20_ms(name: str) -> None:
    shapes = [*stored(), *(Shape(text, "{},", "") for text in TARGETS[name].texts)]
    slow = [shape for shape in shapes if cpu_s(TARGETS[name], shape, 50) > BUDGET_S]
    assert slow == []
