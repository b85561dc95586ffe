"""Findings."""

from dataclasses import replace

from gatehouse_policies import catalogue
from gatehouse_policies.gate import Gate
from gatehouse_policies.reports.findings import exit_code, merge, summary

from tests.policies.reports.builders import (
    RUN,
    URN,
    broken,
    exempted,
    findings,
    undecided,
    violation,
)


def test_violation_has_rule_resource_and_remedy() -> None:
    rule, finding = catalogue.rule("GH-S3-001"), violation()

    assert (finding.rule, finding.title, finding.severity) == (rule.id, rule.title, "critical")
    assert (finding.pack, finding.outcome, finding.blocks) == (
        "gatehouse-security",
        "violation",
        True,
    )
    assert finding.resource_type == "aws:s3/bucket:Bucket"
    assert (finding.message, finding.remedy) == (
        "the bucket has no BucketPublicAccessBlock",
        rule.remedy,
    )


def test_undecided_finding_belongs_to_its_rule() -> None:
    finding = undecided()

    assert (finding.rule, finding.outcome, finding.title) == (
        "GH-S3-003",
        "undecided",
        catalogue.rule("GH-S3-003").title,
    )
    assert finding.message == "could not be decided: policy is unknown"
    assert (finding.level, finding.severity, finding.blocks) == ("", "", False)


def test_undecided_result_is_not_a_violation() -> None:
    finding = undecided()
    other_path = replace(finding, message="could not be decided: bucket is unknown")
    findings = [finding, other_path]

    assert summary(findings, RUN).endswith(": no violations, 1 undecided")
    assert exit_code(findings, RUN) == 0
    assert exit_code(findings, replace(RUN, gate=Gate(fail_on_undecided=True))) == 3
    assert exit_code([*findings, violation()], replace(RUN, gate=Gate(fail_on_undecided=True))) == 1


def test_violation_decides_what_another_property_does_not() -> None:
    assert merge([undecided(), undecided()]) == [undecided()]
    same = violation(policy="GH-S3-003", message="no TLS. Fix: deny it")
    assert merge([undecided(), same]) == [same]


def test_rules_that_need_an_unknown_property_have_a_finding_each() -> None:
    message = (
        f"GH-ECS-001, GH-ECS-002 could not be decided for {URN}: containerDefinitions is "
        f"unknown, which is accepted: x"
    )
    both = findings(policy="GH-UNDECIDED-ALLOWED", level="advisory", message=message)

    assert [(finding.rule, finding.urn, finding.outcome) for finding in both] == [
        ("GH-ECS-001", URN, "undecided"),
        ("GH-ECS-002", URN, "undecided"),
    ]
    assert both[0].message == (
        "could not be decided: containerDefinitions is unknown, which is accepted: x"
    )


def test_broken_rule_blocks_and_exemption_does_not() -> None:
    finding = broken()

    assert (finding.rule, finding.outcome, finding.blocks) == ("GH-S3-001", "broken", True)
    assert (exempted().rule, exempted().outcome, exempted().blocks) == (
        "GH-S3-010",
        "exempted",
        False,
    )


def test_findings_are_sorted_by_severity() -> None:
    low = violation(policy="GH-S3-008", level="advisory", message="late. Fix: now")

    rules = [finding.rule for finding in merge([exempted(), low, undecided(), violation()])]
    assert rules == ["GH-S3-001", "GH-S3-008", "GH-S3-003", "GH-S3-010"]


def test_control_characters_are_replaced() -> None:
    finding = violation(
        urn=f"{URN}\x1b[2J\u202egpj", message="red\x1b[31m. Fix: go", source="a\x07.py:1"
    )

    assert (finding.urn, finding.message, finding.source) == (
        f"{URN}\ufffd[2J\ufffdgpj",
        "red\ufffd[31m",
        "a\ufffd.py:1",
    )
