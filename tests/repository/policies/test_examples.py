"""The example `leaky` violates more than twenty controls."""

import re
from pathlib import Path

import pytest
from gatehouse_policies.policy_check import FORMATS, CheckResult, check

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SOURCE = (EXAMPLES / "leaky" / "__main__.py").read_text()
CONTROLS = set(re.findall(r"GH-[A-Z0-9]+-\d+", SOURCE))
"""The controls that the comments of the leaky program name."""


@pytest.fixture(scope="module")
def leaky() -> CheckResult:
    return check(EXAMPLES / "leaky", "dev", levels="prod")


def test_leaky_program_violates_its_controls(leaky: CheckResult) -> None:
    violated = {
        finding.rule
        for finding in leaky.findings
        if finding.outcome == "violation" and finding.blocks
    }
    assert len(CONTROLS) == 20
    assert CONTROLS - violated == set()
    assert leaky.exit_code == 1


def test_findings_point_near_the_comment(leaky: CheckResult) -> None:
    declared = {
        (finding.rule, int(finding.source.rpartition(":")[2]))
        for finding in leaky.findings
        if finding.source
    }
    assert re.search(r"GH-[A-Z0-9]+-\d+", SOURCE)
    for number, line in enumerate(SOURCE.splitlines(), start=1):
        for control in re.findall(r"GH-[A-Z0-9]+-\d+", line):
            distances = [
                abs(number - source_line) for rule, source_line in declared if rule == control
            ]
            assert min(distances) <= 25, control


def test_reports_do_not_contain_passwords(leaky: CheckResult) -> None:
    for suffix in FORMATS:
        assert "correct-horse-battery" not in leaky.text(suffix)
        assert "paid-0000" not in leaky.text(suffix)
