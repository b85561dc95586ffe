"""The table: what a person reads in a terminal, by resource, the worst first, each finding with what to type."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from policies import catalogue
from policies.reports import table
from policies.reports.findings import Finding
from tests.policies.said import RUN, URN, exempted, undecided, violation

OTHER = URN.replace("::files", "::logs")


def lines(*findings: Finding) -> list[str]:
    """Without the space that lines the columns up."""
    return [re.sub(" +", " ", line.strip()) for line in table.text(findings, RUN).splitlines()]


@pytest.mark.requirement("PP-04")
def test_the_table_names_resource_line_rule_reason_and_remedy() -> None:
    shown = lines(violation())

    assert shown[0] == "files aws.s3.Bucket components/bucket.py:88"
    assert shown[1] == "✗ critical GH-S3-001 no public access block belongs to this bucket"
    assert " ".join(shown[2:4]) == "→ give the bucket an aws.s3.BucketPublicAccessBlock with all four flags True"
    assert shown[-2] == f"prod: {len(catalogue.enabled('prod'))} rules over 120 resources: 1 to mend"
    assert shown[-1] == "✗ stops the deployment: 1 critical"


def test_a_clean_report_says_so() -> None:
    assert lines()[-1].endswith("over 120 resources: nothing to mend")


def test_an_audit_says_that_no_exemption_was_applied() -> None:
    assert "over 120 resources without exemptions: nothing to mend" in table.text([], replace(RUN, audit=True))


def test_no_line_is_wider_than_a_hundred_columns() -> None:
    long = violation(message="word " * 60 + ". Fix: " + "x" * 150, urn=f"{URN}{'y' * 120}")

    assert max(map(len, table.text([long, violation(), undecided()], RUN).splitlines())) == table.WIDTH


def test_what_one_rule_says_twice_with_one_remedy_is_one_row() -> None:
    first, second = violation(message="one is missing. Fix: add it"), violation(message="two is missing. Fix: add it")

    assert lines(first, second)[1:3] == ["✗ critical GH-S3-001 one is missing; two is missing", "→ add it"]


def test_resources_of_one_line_that_lack_the_same_share_a_block() -> None:
    shown = lines(violation(), violation(urn=OTHER), violation(urn=URN.replace("::files", "::else"), message="no. Fix: do"))

    assert [line for line in shown if "aws.s3.Bucket " in line] == [
        "else aws.s3.Bucket components/bucket.py:88",
        "files, logs aws.s3.Bucket components/bucket.py:88",
    ]


def test_a_resource_of_another_package_keeps_its_token() -> None:
    assert lines(replace(violation(), resource_type="gatehouse:bucket:Bucket"))[0].startswith("files gatehouse:bucket:Bucket")


def test_every_mark_that_is_used_is_explained() -> None:
    shown = lines(exempted(), undecided("advisory"), violation(level="advisory"))

    assert shown[-1] == "! advice ? not known before the deployment ~ exempted"
    assert [line[0] for line in shown if " GH-S3-0" in line] == ["!", "?", "~"]
