"""What the stacks cost when nobody uses them, as docs/costs.md says it."""

from __future__ import annotations

import pytest
import yaml

from sandbox.journal import REPOSITORY
from tools.docs.costs import STACKS, estimate


def total(stack: str) -> float:
    return sum(usd for *_, usd in estimate(stack))


def test_dev_costs_less_than_a_quarter_of_prod() -> None:
    assert total("dev") < total("prod") / 4


@pytest.mark.requirement("SS-11")
@pytest.mark.parametrize("stack", STACKS)
def test_a_budget_leaves_room_for_traffic(stack: str) -> None:
    settings = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text())["config"]["gatehouse:settings"]
    assert settings["budget"]["monthly_usd"] > total(stack)
