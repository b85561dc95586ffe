"""docs/peers-policies.md is made of what was run: Gatehouse now, Checkov when its results were kept."""

from __future__ import annotations

import re

import pytest

from bench.peers import checkov, gatehouse, page
from bench.peers.mistakes import VARIANTS, Mistake, read, variant
from policies import catalogue

MISTAKES = read()


def test_the_page_says_what_gatehouse_says_now() -> None:
    assert page.PAGE.read_text() == page.page(gatehouse.caught(MISTAKES)), f"run: {page.COMMAND}"


def test_checkov_was_asked_about_every_mistake_and_no_other() -> None:
    version, caught = checkov.caught()
    assert version == checkov.VERSION
    assert sorted(caught) == sorted(one.key for one in MISTAKES), f"run: {page.COMMAND} checkov"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.key)
def test_the_two_programs_of_a_mistake_differ_in_both_languages(mistake: Mistake) -> None:
    for template in (mistake.terraform, mistake.pulumi):
        broken, mended = (variant(template, name) for name in VARIANTS)
        assert broken != mended
        assert not re.search(r"#[+-]", broken + mended)


def test_a_rule_of_the_page_is_one_of_the_catalogue() -> None:
    named = set(re.findall(r"GH-[A-Z0-9]+-\d+", page.PAGE.read_text()))
    assert named - {rule.id for rule in catalogue.RULES} == set()
