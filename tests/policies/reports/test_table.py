"""Terminal table."""

import re
from dataclasses import replace

from gatehouse_policies import catalogue
from gatehouse_policies.engine.guard import UNGRAMMATICAL
from gatehouse_policies.reports import table
from gatehouse_policies.reports.findings import Finding

from tests.policies.reports.builders import RUN, URN, undecided, violation

OTHER = URN.replace("::files", "::logs")


def lines(*findings: Finding) -> list[str]:
    return [re.sub(" +", " ", line.strip()) for line in table.text(findings, RUN).splitlines()]


def test_block_has_resource_source_rule_message_and_remedy() -> None:
    shown = lines(violation())

    assert shown[0] == "files aws.s3.Bucket components/bucket.py:88"
    assert shown[1] == "✗ critical GH-S3-001 the bucket has no BucketPublicAccessBlock"
    assert " ".join(shown[2:-2]).startswith(f"→ {catalogue.rule('GH-S3-001').remedy}")
    assert (
        shown[-2] == f"prod: {len(catalogue.enabled('prod'))} rules on 120 resources: 1 violation"
    )
    assert shown[-1] == "✗ blocks the deployment: 1 critical"


def test_audit_is_in_the_summary() -> None:
    assert "on 120 resources, exemptions ignored: no violations" in table.text(
        [], replace(RUN, audit=True)
    )


def test_lines_have_at_most_100_columns() -> None:
    long = violation(message="word " * 60 + ". Fix: " + "x" * 150, urn=f"{URN}{'y' * 120}")

    assert (
        max(map(len, table.text([long, violation(), undecided()], RUN).splitlines())) == table.WIDTH
    )


def test_messages_with_same_remedy_share_a_row() -> None:
    first, second = (
        violation(message="one is missing. Fix: add it"),
        violation(message="two is missing. Fix: add it"),
    )

    assert lines(first, second)[1:3] == [
        "✗ critical GH-S3-001 one is missing; two is missing",
        "→ add it",
    ]


def test_rules_that_cannot_read_a_document_share_a_row() -> None:
    message = f"the policy document is not JSON. Fix: {UNGRAMMATICAL}"
    first = violation(policy="GH-S3-012", message=message)
    others = [
        violation(policy="GH-S3-003", level="advisory", message=message),
        violation(policy="GH-IAM-010", message=message),
    ]

    assert lines(first, *others)[1:4] == [
        "✗ critical GH-S3-012 the policy document is not JSON",
        "also GH-IAM-010, GH-S3-003",
        f"→ {UNGRAMMATICAL}",
    ]


def test_resources_with_same_findings_share_a_block() -> None:
    shown = lines(
        violation(),
        violation(urn=OTHER),
        violation(urn=URN.replace("::files", "::else"), message="no. Fix: do"),
    )

    assert [line for line in shown if "aws.s3.Bucket " in line] == [
        "else aws.s3.Bucket components/bucket.py:88",
        "files, logs aws.s3.Bucket components/bucket.py:88",
    ]
