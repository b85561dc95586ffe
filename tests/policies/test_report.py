"""Reports: each diagnostic becomes the right finding, and each form says what is wrong, where, and what to type."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from policies import catalogue
from policies.reports import findings as report
from policies.reports.findings import Finding, merge
from tests.policies.said import RUN, URN, exempted, undecided, violation


def test_a_violation_keeps_rule_resource_reason_and_remedy() -> None:
    found = violation()

    assert (found.rule, found.pack, found.outcome, found.severity) == (
        "GH-S3-001",
        "gatehouse-security",
        "violation",
        "critical",
    )
    assert found.resource_type == "aws:s3/bucket:Bucket"
    assert found.message == "no public access block belongs to this bucket"
    assert found.remedy == "give the bucket an aws.s3.BucketPublicAccessBlock with all four flags True"
    assert found.stops


def test_the_description_that_the_sdk_puts_above_a_message_is_dropped() -> None:
    title = catalogue.rule("GH-S3-001").title

    assert violation(message=f"{title}\nwrong. Fix: that").message == "wrong"


def test_an_undecided_one_is_told_under_the_rule_that_it_is_about() -> None:
    found = undecided()

    assert (found.rule, found.outcome, found.title) == ("GH-S3-003", "undecided", "Every bucket refuses plain HTTP")
    assert found.message == "could not be decided: policy is unknown"
    assert found.stops
    assert not undecided("advisory").stops


def test_an_unknown_that_is_allowed_is_told_with_its_reason() -> None:
    message = f"GH-ECS-001 could not be decided for {URN}: containerDefinitions is unknown, as it may be: AWS chooses it"
    found = violation(policy="GH-UNDECIDED-ALLOWED", level="advisory", message=message)

    assert (found.rule, found.outcome) == ("GH-ECS-001", "undecided")
    assert found.message == "could not be decided: containerDefinitions is unknown, as it may be: AWS chooses it"


def test_a_broken_rule_stops_and_an_exemption_does_not() -> None:
    broken = violation(policy="GH-BROKEN", message=f"rule GH-S3-001 is broken on {URN}: KeyError. Fix: mend it")

    assert (broken.rule, broken.outcome, broken.stops) == ("GH-S3-001", "broken", True)
    assert (exempted().rule, exempted().outcome, exempted().stops) == ("GH-S3-010", "exempted", False)


def test_what_two_passes_say_alike_is_one_finding() -> None:
    first, second = violation(), violation()
    unknown = replace(first, passes=("unknown",))

    assert [one.passes for one in merge([unknown, second])] == [("unknown", "known")]


def test_undecided_in_one_pass_gives_way_to_a_violation_in_the_other() -> None:
    plain = violation(policy="GH-S3-003", message="no policy. Fix: write one")

    assert [one.outcome for one in merge([undecided(), plain])] == ["violation"]


def test_the_worst_comes_first() -> None:
    low = violation(policy="GH-S3-008", level="advisory", message="late. Fix: now")

    assert [one.rule for one in merge([exempted(), low, undecided(), violation()])] == [
        "GH-S3-001",
        "GH-S3-003",
        "GH-S3-008",
        "GH-S3-010",
    ]


@pytest.mark.parametrize(
    ("findings", "code"),
    [([], 0), ([exempted()], 0), ([undecided("advisory")], 0), ([undecided()], 1), ([violation()], 1)],
)
def test_the_exit_code_is_one_when_something_stops(findings: list[Finding], code: int) -> None:
    assert report.exit_code(findings) == code


@pytest.mark.requirement("PP-04")
def test_junit_has_a_case_for_each_rule_and_fails_the_broken_one() -> None:
    root = ElementTree.fromstring(report.junit([violation()], RUN))  # noqa: S314  our own output

    suites = {suite.get("name"): suite for suite in root}
    security = suites["gatehouse-security"]
    assert security.get("tests") == str(len(catalogue.of_pack("security")) + len(catalogue.META_POLICIES))
    assert (security.get("failures"), suites["gatehouse-resilience"].get("failures")) == ("1", "0")
    failed = security.find("testcase/failure")
    assert failed is not None
    assert failed.text == (
        f"violation: {URN} (components/bucket.py:88): no public access block belongs to this bucket. "
        "Fix: give the bucket an aws.s3.BucketPublicAccessBlock with all four flags True"
    )


@pytest.mark.requirement("PP-04")
def test_markdown_has_a_row_with_a_link_for_each_finding() -> None:
    page = report.markdown([violation()], RUN)

    rule = catalogue.rule("GH-S3-001")
    assert f"| mandatory | [GH-S3-001]({rule.url}) | no public access block belongs to this bucket | {rule.remedy} |" in page
    assert "`aws:s3/bucket:Bucket` · `components/bucket.py:88`" in page


def test_a_pipe_in_a_message_does_not_break_the_markdown_table() -> None:
    assert "a \\| b" in report.markdown([violation(message="a | b. Fix: c")], RUN)


def test_junit_has_a_suite_for_a_pack_of_ones_own() -> None:
    own = replace(violation(policy="ACME-SNS-001", message="open. Fix: shut it"), pack="guard")
    root = ElementTree.fromstring(report.junit([own], RUN))  # noqa: S314  our own output

    [suite] = [suite for suite in root if suite.get("name") == "guard"]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite.findtext("testcase/failure") == f"violation: {URN} (components/bucket.py:88): open. Fix: shut it"


def test_a_name_that_plays_with_the_terminal_is_shown_without_its_tricks() -> None:
    found = violation(urn=f"{URN}\x1b[2J\u202egpj", message="red\x1b[31m. Fix: go", source="a\x07.py:1")

    assert (found.urn, found.message, found.source) == (f"{URN}\ufffd[2J\ufffdgpj", "red\ufffd[31m", "a\ufffd.py:1")
    assert ElementTree.fromstring(report.junit([found], RUN)) is not None  # noqa: S314  our own output
