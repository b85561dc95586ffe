"""Estimated monthly costs of the stacks (docs/costs.md)."""

import pytest
import yaml

from sandbox.paths import REPOSITORY
from tools.docs.costs import STACKS, total


def test_dev_costs_less_than_a_quarter_of_prod() -> None:
    assert total("dev") < total("prod") / 4


@pytest.mark.requirement("SS-11")
@pytest.mark.parametrize("stack", STACKS)
def test_budget_exceeds_the_fixed_costs(stack: str) -> None:
    settings = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text())["config"]["gatehouse:settings"]
    assert settings["budget"]["monthly_usd"] > total(stack)
