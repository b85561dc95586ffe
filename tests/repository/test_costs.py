"""Estimated monthly costs of the stacks (docs/costs.md)."""

import re
from datetime import UTC, date, datetime

import pytest
import yaml

from sandbox.paths import REPOSITORY
from tools.docs.costs import PRICES, REDUCED, _running, estimate, total
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


def test_reduced_stack_costs_less_than_dev() -> None:
    normal, reduced = (
        {item: usd for item, _, usd in estimate(stack)} for stack in ("dev", REDUCED)
    )
    tasks, gateways = "ECS tasks (Fargate, ARM)", "NAT gateways with Elastic IPs"
    # Half of the price of Fargate, for 13 hours on 5 of 7 days.
    assert reduced[tasks] == pytest.approx(normal[tasks] * 0.5 * 13 * 5 / (24 * 7))
    assert (normal[gateways] > 0, reduced[gateways]) == (True, 0)
    assert total(REDUCED) < total("dev") - 40


@pytest.mark.parametrize(
    ("start", "stop", "hours"),
    [
        ("cron(0 7 ? * MON-FRI *)", "cron(30 20 * * ? *)", 67.5),
        ("cron(0 22 ? * MON-FRI *)", "cron(0 6 * * ? *)", 40),
    ],
)
def test_share_of_the_week_with_tasks(start: str, stop: str, hours: float) -> None:
    assert _running(start, stop) == pytest.approx(hours / 168)
    assert _running(None, None) == 1


def test_prices_have_a_date_and_sources() -> None:
    assert date.fromisoformat(PRICES["date"]) <= datetime.now(UTC).date()
    rows = [row for row in PRICES.values() if isinstance(row, dict)]
    assert len(rows) >= 7
    for row in rows:
        assert all(
            re.fullmatch(r"https://aws\.amazon\.com/[a-z0-9/-]+/pricing/", url)
            for url in row["source"].split(", ")
        )
        assert all(usd > 0 for usd in row["usd"].values())
