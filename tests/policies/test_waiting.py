"""What waits for our own program advises, stops nothing, and is in one list that holds nothing else."""

from __future__ import annotations

import pytest

from policies import catalogue
from policies.rule import Level
from policies.waiting import WAITING, levels_for_now


@pytest.mark.parametrize("id", WAITING)
def test_a_rule_that_waits_is_advisory_where_it_would_be_mandatory(id: str) -> None:
    rule = catalogue.rule(id)

    assert Level.MANDATORY not in rule.levels.values()
    assert rule.levels["prod"] is Level.ADVISORY


def test_a_rule_that_does_not_wait_keeps_its_levels() -> None:
    rule = catalogue.rule("GH-KMS-001")

    assert levels_for_now(rule) is rule


def test_never_exempted_rules_do_not_wait() -> None:
    assert [id for id in WAITING if not catalogue.rule(id).exemptible] == []
