"""Our own prod stack, broken in one place at a time: exactly the rule that guards the place speaks."""

from __future__ import annotations

import pytest

from policies import catalogue
from policies.catalogue import RULES
from policies.rule import Level
from tests.policies.mutations import MUTATIONS
from tests.policies.ourstack import Spoken, prod, speak
from tests.policies.test_rules import CASES

# What allows everything also decrypts with every key, uses wildcards and passes roles, so it never speaks alone.
NEVER_ALONE = {"GH-IAM-001"}


@pytest.fixture(scope="module")
def before() -> set[Spoken]:
    """What is said about the stack as it is."""
    return speak(prod())


@pytest.mark.parametrize("id", MUTATIONS)
def test_exactly_its_rule_speaks_when_our_stack_is_broken_in_one_place(id: str, before: set[Spoken]) -> None:
    mutation = MUTATIONS[id]
    if not mutation.applies(prod()):
        pytest.skip(f"our stack has no {mutation.type}; the estate program of the tests stands in")

    assert {rule for rule, _, _ in speak(mutation.of(prod())) - before} == {id}


def test_every_rule_with_a_subject_in_our_stack_has_a_mutation(before: set[Spoken]) -> None:
    types = {one.resource.type for one in prod()}
    guarded = {rule.id for rule in RULES if not rule.types or types & set(rule.types)}

    assert guarded - set(MUTATIONS) - {rule for rule, _, _ in before} == NEVER_ALONE


@pytest.mark.promise("PP-02")
def test_only_what_advises_everywhere_speaks_about_our_stack(before: set[Spoken]) -> None:
    assert {rule for rule, _, _ in before} == {"GH-ALB-009", "GH-RDS-014", "GH-S3-017"}
    assert {level for id in ("GH-ALB-009", "GH-RDS-014", "GH-S3-017") for level in catalogue.rule(id).levels.values()} <= {
        Level.ADVISORY,
        Level.DISABLED,
    }


def test_every_other_rule_is_broken_in_the_estate_program() -> None:
    estate = {case.values[0].rule for case in CASES}

    assert {rule.id for rule in RULES} - estate == NEVER_ALONE


def test_no_rule_is_broken_or_undecided_about_our_stack(before: set[Spoken]) -> None:
    assert [one for one in before if one[2].startswith(("broken", "undecided"))] == []
