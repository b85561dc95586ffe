"""The two example programs: one breaks twenty controls and is told so, the other, made of components, is clean."""

from __future__ import annotations

import html
import re

import pytest

from sandbox.check import Checked, check
from tools.docs import example_report as picture


@pytest.fixture(scope="module")
def leaky() -> Checked:
    return picture.judged()


@pytest.mark.requirement("PP-02")
def test_each_of_the_twenty_controls_that_the_leaky_program_breaks_is_told(leaky: Checked) -> None:
    violated = {found.rule for found in leaky.findings if found.outcome == "violation" and found.stops}
    assert len(picture.marked()) == 20
    assert picture.marked() - violated == set()
    assert leaky.exit_code == 1


def test_the_control_stands_near_the_line_that_breaks_it(leaky: Checked) -> None:
    lines = (picture.LEAKY / "__main__.py").read_text().splitlines()
    declared = {(found.rule, int(found.source.rpartition(":")[2])) for found in leaky.findings if found.source}
    for number, line in enumerate(lines, start=1):
        for rule in re.findall(r"GH-[A-Z0-9]+-\d+", line):
            distances = [abs(number - at) for told, at in declared if told == rule]
            assert min(distances) <= 25, rule


def test_the_password_of_the_leaky_program_is_in_no_report(leaky: Checked) -> None:
    for form in ("table", "json", "sarif", "junit", "markdown"):
        assert "correct-horse-battery" not in leaky.text(form)
        assert "paid-0000" not in leaky.text(form)


def test_the_picture_in_the_docs_shows_the_twenty_controls_and_loads_nothing() -> None:
    drawn = html.unescape(picture.PICTURE.read_text(encoding="utf-8"))
    assert {rule for rule in picture.marked() if rule not in drawn} == set()
    assert re.findall(r"(?:url\(|href=)[\"']?(?!#)[^)\"']+", drawn) == []


@pytest.mark.requirement("PP-02")
def test_the_program_made_of_components_is_clean_at_the_levels_of_prod() -> None:
    checked = check(picture.ROOT / "examples" / "clean", "dev", levels="prod")
    assert [finding for finding in checked.findings if finding.stops] == []
    # Advice alone, and none that another bucket of this repository does not get: versions can be deleted.
    told = {finding.rule for finding in checked.findings if finding.outcome == "violation"}
    assert told == {"GH-S3-017"}
    assert checked.run.resources > 15
