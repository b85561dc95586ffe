"""SARIF report.

The schema below is the part of the published schema that the report uses, with GitHub's additional requirements.
`.github/workflows/policies.yml` validates a report against the published schema.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from policies import catalogue
from policies.engine.meta_policies import META_POLICIES
from policies.reports import sarif
from policies.reports.findings import Finding
from tests.policies.reports.builders import RUN, URN, exempted, undecided, violation


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Schema of an object with these members only."""
    members = {**required, **(optional or {})}
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


TEXT = closed({"text": {"type": "string", "minLength": 1}})
URI = {"type": "string", "pattern": r"^[A-Za-z0-9._~%/+-]+$", "not": {"pattern": "^/|^[a-z]+:"}}
RULE = closed(
    {
        "id": {"type": "string", "pattern": "^GH-"},
        "shortDescription": TEXT,
        "fullDescription": TEXT,
        "help": TEXT,
        "helpUri": {"type": "string", "pattern": "^https://[^ ]+$"},
        "defaultConfiguration": closed({"enabled": {"type": "boolean"}, "level": {"enum": ["error", "warning"]}}),
        "properties": closed(
            {
                "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 20},
                "security-severity": {"type": "string", "pattern": r"^\d\.\d$"},
            }
        ),
    }
)
LOCATION = closed(
    {
        "physicalLocation": closed(
            {
                "artifactLocation": closed({"uri": URI, "uriBaseId": {"const": "%SRCROOT%"}}),
                "region": closed({"startLine": {"type": "integer", "minimum": 1}}),
            }
        )
    },
    {
        "logicalLocations": {
            "type": "array",
            "items": closed({"fullyQualifiedName": {"type": "string"}, "kind": {"type": "string"}}),
        }
    },
)
RESULT = closed(
    {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["fail", "open"]},
        "level": {"enum": ["error", "warning", "note", "none"]},
        "message": TEXT,
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "properties": {"type": "object"},
        "locations": {"type": "array", "items": LOCATION, "minItems": 1, "maxItems": 1},
    },
    {
        "suppressions": {
            "type": "array",
            "items": closed(
                {"kind": {"const": "external"}, "status": {"const": "accepted"}, "justification": {"type": "string"}}
            ),
        }
    },
)
DRIVER = closed(
    {
        "name": {"const": "gatehouse"},
        "semanticVersion": {"type": "string"},
        "rules": {"type": "array", "items": {"anyOf": [RULE, closed({"id": {"type": "string", "pattern": "^OWN-"}})]}},
    }
)
LOG = closed(
    {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": closed(
                {
                    "tool": closed({"driver": DRIVER}),
                    "automationDetails": closed({"id": {"type": "string", "pattern": "/$"}}),
                    "invocations": {
                        "type": "array",
                        "items": closed({"executionSuccessful": {"const": True}, "exitCode": {"enum": [0, 1]}}),
                    },
                    "originalUriBaseIds": closed({"%SRCROOT%": closed({"description": TEXT})}),
                    "columnKind": {"const": "utf16CodeUnits"},
                    "results": {"type": "array", "items": RESULT},
                }
            ),
        },
    }
)


def run_of(findings: Sequence[Finding], **changes: str) -> dict[str, Any]:
    run: dict[str, Any] = sarif.document(findings, replace(RUN, **changes))["runs"][0]  # type: ignore[arg-type]
    return run


@pytest.mark.requirement("PP-04")
def test_report_matches_schema_for_every_outcome() -> None:
    other_pack = violation(policy="OWN-1", urn="", source="", message="open. Fix: close it")
    broken = violation(policy="GH-BROKEN", message=f"rule GH-S3-001 raised KeyError on {URN}. Fix: fix it")
    findings = [violation(), violation(level="advisory"), undecided(), undecided("advisory"), exempted(), broken, other_pack]

    for environment in ("dev", "staging", "prod", "elsewhere"):
        jsonschema.validate(sarif.document(findings, replace(RUN, environment=environment)), LOG)


@pytest.mark.requirement("PP-04")
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
        ("", "examples/shop", "examples/shop/Pulumi.yaml", 1),
        ("", "", "Pulumi.yaml", 1),
    ],
)
def test_location_is_relative_to_the_repository(source: str, root: str, uri: str, line: int) -> None:
    [result] = run_of([violation(source=source)], root=root)["results"]

    location = result["locations"][0]["physicalLocation"]
    assert (location["artifactLocation"]["uri"], location["region"]["startLine"]) == (uri, line)


def test_run_id_contains_program_and_environment() -> None:
    ids = {run_of([], environment=name, root=root)["automationDetails"]["id"] for name in ("dev", "prod") for root in ("", "a")}

    assert ids == {"policies/./dev/", "policies/./prod/", "policies/a/dev/", "policies/a/prod/"}


def test_report_contains_every_rule_once() -> None:
    ids = [rule["id"] for rule in run_of([])["tool"]["driver"]["rules"]]

    assert sorted(ids) == sorted([*(rule.id for rule in catalogue.RULES), *(policy.id for policy in META_POLICIES)])


@pytest.mark.requirement("PP-04")
def test_exempted_is_suppressed_and_undecided_is_open() -> None:
    suppressed, is_open = run_of([exempted(), undecided("advisory")])["results"]

    assert [item["kind"] for item in suppressed["suppressions"]] == ["external"]
    assert (is_open["kind"], is_open["level"]) == ("open", "none")
