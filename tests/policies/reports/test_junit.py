"""JUnit report."""

from dataclasses import replace
from xml.etree import ElementTree

from gatehouse_policies import catalogue
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.reports.findings import Finding
from gatehouse_policies.reports.junit import junit

from tests.policies.reports.builders import RUN, URN, undecided, violation


def suites(finding: Finding) -> dict[str | None, ElementTree.Element]:
    root = ElementTree.fromstring(junit([finding], RUN))  # noqa: S314  our own output
    return {suite.get("name"): suite for suite in root}


def test_suite_has_a_case_per_rule_and_fails_the_violated_one() -> None:
    security, resilience = (
        suites(violation())["gatehouse-security"],
        suites(violation())["gatehouse-resilience"],
    )

    assert security.get("tests") == str(len(catalogue.of_pack("security")) + len(META_POLICIES))
    assert (security.get("failures"), resilience.get("failures")) == ("1", "0")
    text = security.findtext("testcase/failure") or ""
    assert text.startswith(f"violation: {URN} (components/bucket.py:88): ")
    assert text.endswith(f"Fix: {catalogue.rule('GH-S3-001').remedy}")


def test_times_are_those_of_the_check_and_of_the_packs() -> None:
    run = replace(RUN, seconds=12.3456, pack_seconds={"gatehouse-security": 2.5})
    root = ElementTree.fromstring(junit([violation()], run))  # noqa: S314  our own output
    times = {suite.get("name"): suite.get("time") for suite in root}
    assert (root.get("time"), times) == (
        "12.346",
        {"gatehouse-security": "2.500", "gatehouse-resilience": "0.000"},
    )


def test_other_pack_has_its_own_suite() -> None:
    other = replace(violation(policy="ACME-SNS-001", message="open. Fix: close it"), pack="guard")

    suite = suites(other)["guard"]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert (
        suite.findtext("testcase/failure")
        == f"violation: {URN} (components/bucket.py:88): open. Fix: close it"
    )


def test_undecided_rule_neither_passes_nor_fails() -> None:
    suite = suites(undecided())["gatehouse-security"]
    [case] = [case for case in suite.iter("testcase") if "GH-S3-003" in str(case.get("name"))]

    assert (suite.get("failures"), case.find("failure")) == ("0", None)
    assert case.find("skipped") is not None
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties == {"undecided": "1"}
