"""The comparison in bench/peers: results are current, and the programs contain the mistakes."""

import re

from gatehouse_policies import catalogue

from bench.peers import checkov, comparison
from bench.peers.comparison import VARIANTS, read, variant

MISTAKES = read()


def test_results_are_current() -> None:
    assert comparison.PAGE.read_text() == comparison.page(comparison.caught(MISTAKES)), (
        f"run: {comparison.COMMAND}"
    )


def test_checkov_results_cover_every_mistake() -> None:
    version, caught = checkov.caught()
    assert version == checkov.VERSION
    assert sorted(caught) == sorted(mistake.key for mistake in MISTAKES), (
        f"run: {comparison.COMMAND} --checkov"
    )


def test_programs_differ_by_the_mistake() -> None:
    templates = [
        (mistake.key, template)
        for mistake in MISTAKES
        for template in (mistake.terraform, mistake.pulumi)
    ]
    assert len(templates) > 20
    for key, template in templates:
        broken, fixed = (variant(template, name) for name in VARIANTS)
        assert broken != fixed, key
        assert not re.search(r"#[+-]", broken + fixed), key


def test_controls_of_the_results_exist() -> None:
    named = set(re.findall(r"GH-[A-Z0-9]+-\d+", comparison.PAGE.read_text()))
    assert named - {rule.id for rule in catalogue.RULES} == set()
