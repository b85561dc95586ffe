"""Requirements of frameworks."""

from dataclasses import replace

import pytest
from gatehouse_policies.frameworks import frameworks
from gatehouse_policies.gate import Gate
from gatehouse_policies.reports.compliance import requirements
from gatehouse_policies.reports.findings import Finding, Run
from gatehouse_policies.reports.markdown import markdown

from tests.policies.reports.builders import RUN, broken, exempted, undecided, violation

SKIPPED = replace(RUN, gate=Gate(skip=("GH-S3-010",)))


@pytest.mark.parametrize(
    ("requirement", "findings", "run", "state"),
    [
        ("S3.8", [violation(), broken()], RUN, "violated (2 findings)"),
        ("S3.8", [replace(violation(), baseline="unchanged")], RUN, "violated (1 finding)"),
        ("S3.5", [undecided()], RUN, "undecided"),
        ("S3.9", [exempted()], RUN, "exempted"),
        ("S3.9", [], RUN, "no findings"),
        ("S3.9", [], SKIPPED, "not evaluated"),
    ],
)
def test_result_of_a_requirement(
    requirement: str, findings: list[Finding], run: Run, state: str
) -> None:
    rows = {row.id: row for row in requirements(frameworks()["fsbp"], findings, run)}
    assert rows[requirement].state == state


def test_requirements_of_a_selected_framework_are_in_the_comment() -> None:
    page = markdown([violation()], replace(RUN, gate=Gate(framework="cis")))
    assert "## CIS AWS Foundations Benchmark 7.0" in page
    assert "| 3.1.4 | violated (1 finding) | [GH-S3-001](" in page
    assert "## CIS" not in markdown([violation()], RUN)
