"""Estimated monthly costs of the stacks (docs/costs.md)."""

import re
from datetime import UTC, date, datetime

import pytest
import yaml

from sandbox.paths import REPOSITORY
from tools.docs.costs import PRICES, total
from tools.docs.deployments import STACKS


def test_dev_costs_less_than_a_quarter_of_prod() -> None:
    assert total("dev") < total("prod") / 4


@pytest.mark.requirement("SS-11")
@pytest.mark.parametrize("stack", STACKS)
def test_budget_exceeds_the_fixed_costs(stack: str) -> None:
    settings = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text())["config"][
        "gatehouse:settings"
    ]
    assert settings["budget"]["monthly_usd"] > total(stack)


def test_prices_have_a_date_and_sources() -> None:
    assert date.fromisoformat(PRICES["date"]) <= datetime.now(UTC).date()
    rows = [row for row in PRICES.values() if isinstance(row, dict)]
    assert len(rows) >= 6
    for row in rows:
        assert all(
            re.fullmatch(r"https://aws\.amazon\.com/[a-z0-9/-]+/pricing/", url)
            for url in row["source"].split(", ")
        )
        assert all(usd > 0 for usd in row["usd"].values())
