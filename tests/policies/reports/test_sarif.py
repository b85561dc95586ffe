"""SARIF report (policies.yml validates it against the schema)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.reports import sarif
from gatehouse_policies.reports.findings import Finding

from tests.policies.reports.builders import RUN, URN, broken, exempted, undecided, violation


def run_of(findings: Sequence[Finding], **changes: str) -> dict[str, Any]:
    run: dict[str, Any] = sarif.document(findings, replace(RUN, **changes))["runs"][0]  # type: ignore[arg-type]
    return run


@pytest.mark.parametrize("environment", ["dev", "staging", "prod", "elsewhere"])
def test_rules_meet_the_limits_of_code_scanning(environment: str) -> None:
    other_pack = violation(
        policy="OWN-1", urn="", source="", message="open. Fix: close it", title="Doors are closed"
    )
    *rules, own = run_of([other_pack], environment=environment)["tool"]["driver"]["rules"]

    assert own == {
        "id": "OWN-1",
        "shortDescription": {"text": "Doors are closed"},
        "help": {"text": "Fix: close it"},
    }
    for rule in rules:
        tags = rule["properties"]["tags"]
        assert len(set(tags)) == len(tags) <= 20, rule["id"]
        # Code scanning would show this severity with each undecided result.
        severity = r"" if rule["id"] == "GH-UNDECIDED" else r"\d\.\d"
        assert re.fullmatch(severity, rule["properties"].get("security-severity", "")), rule["id"]
        assert all(
            rule[text]["text"] for text in ("shortDescription", "fullDescription", "help")
        ), rule["id"]
        assert re.fullmatch(r"https://[^ ]+", rule["helpUri"]), rule["id"]


def test_outcome_sets_kind_and_level() -> None:
    findings = [violation(), violation(level="advisory"), undecided(), exempted(), broken()]
    run = run_of(findings)
    results = run["results"]

    assert [(result["kind"], result["level"]) for result in results] == [
        *(("fail", "error"), ("fail", "warning"), ("open", "none"), ("fail", "warning")),
        ("fail", "error"),
    ]
    assert (results[2]["ruleId"], run["properties"]) == (
        "GH-UNDECIDED",
        {"undecided": 1, "absent": 0},
    )
    assert results[2]["message"]["text"].startswith("GH-S3-003 could not be decided: policy is")


@pytest.mark.parametrize(
    ("place", "kind"), [("by platform (SEC-1)", "external"), ("at storage.py:12", "inSource")]
)
def test_exempted_finding_is_a_suppressed_result(place: str, kind: str) -> None:
    message = f"GH-S3-010 is exempted for {URN} until 2026-07-01 {place}: a: b"
    suppressed, other = run_of([replace(exempted(), message=message), violation()])["results"]
    assert suppressed["ruleId"] == "GH-S3-010"
    assert suppressed["suppressions"] == [
        {
            "kind": kind,
            "status": "accepted",
            "justification": "a: b",
            "properties": {"expires": "2026-07-01"},
        }
    ]
    assert other["suppressions"] == []


def test_findings_on_one_line_have_different_fingerprints() -> None:
    results = run_of(
        [violation(), violation(message="another defect. Fix: mend it"), violation(urn=f"{URN}-2")]
    )["results"]
    hashes = [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]
    assert len(set(hashes)) == len(results) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}:1", text) for text in hashes)


def test_result_has_rule_resource_and_line() -> None:
    run = run_of([violation()])

    [result] = run["results"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (result["ruleId"], result["level"], rule["id"]) == ("GH-S3-001", "error", "GH-S3-001")
    assert result["locations"] == [
        {
            "logicalLocations": [{"fullyQualifiedName": URN, "kind": "resource"}],
            "physicalLocation": {
                "artifactLocation": {"uri": "components/bucket.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 88},
            },
        }
    ]


@pytest.mark.parametrize(
    ("source", "root", "uri", "line"),
    [
        ("parts.py:15", "examples/shop", "examples/shop/parts.py", 15),
        ("für alle.py:2", "", "f%C3%BCr%20alle.py", 2),
        ("../shared/parts.py:15", "examples/shop", "examples/shared/parts.py", 15),
        ("", "examples/shop", "examples/shop/Pulumi.yaml", 1),
        ("", "", "Pulumi.yaml", 1),
    ],
)
def test_location_is_relative_to_the_repository(
    source: str, root: str, uri: str, line: int
) -> None:
    [result] = run_of([violation(source=source)], root=root)["results"]

    location = result["locations"][0]["physicalLocation"]
    assert (location["artifactLocation"]["uri"], location["region"]["startLine"]) == (uri, line)


def test_run_id_contains_program_and_environment() -> None:
    ids = {
        run_of([], environment=name, root=root)["automationDetails"]["id"]
        for name in ("dev", "prod")
        for root in ("", "a")
    }

    assert ids == {"policies/./dev/", "policies/./prod/", "policies/a/dev/", "policies/a/prod/"}


def test_report_contains_every_rule_once() -> None:
    ids = [rule["id"] for rule in run_of([])["tool"]["driver"]["rules"]]

    assert sorted(ids) == sorted(
        [*(rule.id for rule in catalogue.RULES), *(policy.id for policy in META_POLICIES)]
    )


def test_rules_refer_to_requirements_of_frameworks() -> None:
    run = run_of([])
    taxa = {
        taxonomy["name"]: {taxon["id"] for taxon in taxonomy["taxa"]}
        for taxonomy in run["taxonomies"]
    }
    targets = [
        relation["target"]
        for rule in run["tool"]["driver"]["rules"]
        for relation in rule.get("relationships", ())
    ]
    assert {"id": "S3.8", "toolComponent": {"name": "PCI DSS 4.0.1"}} in targets
    assert len(taxa) == len(run["taxonomies"])
    assert all(target["id"] in taxa[target["toolComponent"]["name"]] for target in targets)
