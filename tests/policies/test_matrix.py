"""Our own prod stack, broken in one place at a time: exactly the rule that guards the place speaks. What prod does not have is
broken in the same stack with its share door served by a function."""

from __future__ import annotations

from functools import cache

import pytest

from policies import catalogue
from policies.catalogue import RULES
from policies.engine.rule import Level
from tests.policies.mutations import MUTATIONS
from tests.policies.ourstack import Spoken, prod, serverless, speak
from tests.policies.test_rules import CASES

# What allows everything also decrypts with every key, uses wildcards and passes roles, so it never speaks alone.
NEVER_ALONE = {"GH-IAM-001"}


@cache
def said_before(apart: bool) -> set[Spoken]:
    """What is said about the stack as it is; `apart`: with a function."""
    return speak(serverless() if apart else prod())


@pytest.fixture(scope="module")
def before() -> set[Spoken]:
    return said_before(False)


@pytest.mark.parametrize("id", MUTATIONS)
def test_exactly_its_rule_speaks_when_our_stack_is_broken_in_one_place(id: str) -> None:
    mutation = MUTATIONS[id]
    apart = not mutation.applies(prod())
    stack, before = serverless() if apart else prod(), said_before(apart)
    if not mutation.applies(stack):
        pytest.skip(f"our stack has no {mutation.type}; the estate program of the tests stands in")

    assert {rule for rule, _, _ in speak(mutation.of(stack)) - before} == {id}


def test_every_rule_with_a_subject_in_our_stack_has_a_mutation(before: set[Spoken]) -> None:
    types = {one.resource.type for one in (*prod(), *serverless())}
    guarded = {rule.id for rule in RULES if not rule.types or types & set(rule.types)}

    assert guarded - set(MUTATIONS) - {rule for rule, _, _ in before} == NEVER_ALONE


@pytest.mark.requirement("PP-02")
def test_only_what_advises_everywhere_speaks_about_our_stack(before: set[Spoken]) -> None:
    assert {rule for rule, _, _ in before} == {"GH-ALB-009", "GH-RDS-014", "GH-S3-017"}
    assert {level for id in ("GH-ALB-009", "GH-RDS-014", "GH-S3-017") for level in catalogue.rule(id).levels.values()} <= {
        Level.ADVISORY,
        Level.DISABLED,
    }


def test_every_other_rule_is_broken_in_the_estate_program() -> None:
    estate = {case.values[0].rule for case in CASES}

    assert {rule.id for rule in RULES} - estate == NEVER_ALONE


@pytest.mark.parametrize("apart", [False, True], ids=["container", "function"])
def test_no_rule_is_broken_or_undecided_about_our_stack(apart: bool) -> None:
    assert [one for one in said_before(apart) if one[2].startswith(("broken", "undecided"))] == []


def test_a_function_in_place_of_the_container_breaks_no_rule_that_the_stack_meets(before: set[Spoken]) -> None:
    assert {rule for rule, _, _ in said_before(True)} <= {rule for rule, _, _ in before}
