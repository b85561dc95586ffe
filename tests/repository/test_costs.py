"""Estimated monthly costs of the stacks (docs/costs.md)."""

import re
from dataclasses import replace

import pytest
import yaml
from gatehouse.platform.metrics import Metrics
from pulumi_local.types import Registration

from sandbox.paths import REPOSITORY
from tools.docs.costs import PRICES, SMALL_STACK, collector_metrics, insights_metrics, series, total
from tools.docs.deployments import STACKS, deployed


def test_dev_costs_less_than_a_quarter_of_prod() -> None:
    assert total("dev") < total("prod") / 4


@pytest.mark.parametrize("stack", STACKS)
def test_budget_exceeds_the_fixed_costs(stack: str) -> None:
    settings = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text())["config"][
        "gatehouse:settings"
    ]
    assert settings["budget"]["monthly_usd"] > total(stack)


def test_comments_of_stack_files_agree_with_the_table() -> None:
    for stack in STACKS:
        text = (REPOSITORY / f"Pulumi.{stack}.yaml").read_text()
        amounts = re.findall(r"about (\d+) USD|`profile: small` (\d+)", text)
        expected = [total(stack), total(SMALL_STACK)] if stack == "dev" else []
        assert [int("".join(row)) for row in amounts] == [round(usd, -1) for usd in expected]
    assert total(SMALL_STACK) < total("dev") / 2


def _services(stack: str) -> tuple[list[Registration], list[Registration]]:
    resources = [resource.registration for resource in deployed(stack).resources]
    services, definitions = (
        [resource for resource in resources if resource.type == f"aws:ecs/{kind}"]
        for kind in ("service:Service", "taskDefinition:TaskDefinition")
    )
    assert services
    return services, definitions


def test_series_counts_each_combination_of_labels_once() -> None:
    metrics = Metrics()
    idle = series(metrics)
    metrics.durations("gateway", "/v1/keys", 200).observe(0.1)
    metrics.durations("gateway", "/v1/keys", 404).observe(0.1)
    metrics.core_errors.labels("core_timeout").inc()
    assert series(metrics) == idle + 3


def test_stack_without_collector_sends_no_collector_metrics() -> None:
    counts = {stack: collector_metrics(*_services(stack)) for stack in STACKS}
    assert counts["dev"] == 0
    assert counts["staging"] == counts["prod"] > series(Metrics())


def test_each_task_and_container_adds_metrics_of_container_insights() -> None:
    (gateway, console), definitions = _services("prod")
    before = insights_metrics([gateway, console], definitions)
    inputs = {**gateway.inputs, "desiredCount": gateway.inputs["desiredCount"] + 1}
    after = insights_metrics([replace(gateway, inputs=inputs), console], definitions)
    # The container of the service and the collector.
    prices = PRICES["metrics_of_container_insights"]
    assert after == before + prices["task"] + 2 * prices["container_of_task"]
