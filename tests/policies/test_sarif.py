"""SARIF: a log that code scanning takes.

The published schema is another's file and has no package: what this log uses of it is written out below, in our words,
and stricter, with what GitHub demands on top. `.github/workflows/policies.yml` holds a real log to the published one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from policies import catalogue
from policies.reports import sarif
from policies.reports.findings import Finding
from tests.policies.said import RUN, URN, exempted, undecided, violation


def exactly(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object with these members and no others."""
    members = {**required, **(optional or {})}
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


TEXT = exactly({"text": {"type": "string", "minLength": 1}})
URI = {"type": "string", "pattern": r"^[A-Za-z0-9._~%/+-]+$", "not": {"pattern": "^/|^[a-z]+:"}}
RULE = exactly(
    {
        "id": {"type": "string", "pattern": "^GH-"},
        "shortDescription": TEXT,
        "fullDescription": TEXT,
        "help": TEXT,
        "helpUri": {"type": "string", "pattern": "^https://[^ ]+$"},
        "defaultConfiguration": exactly({"enabled": {"type": "boolean"}, "level": {"enum": ["error", "warning"]}}),
        "properties": exactly(
            {
                "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 20},
                "security-severity": {"type": "string", "pattern": r"^\d\.\d$"},
            }
        ),
    }
)
LOCATION = exactly(
    {
        "physicalLocation": exactly(
            {
                "artifactLocation": exactly({"uri": URI, "uriBaseId": {"const": "%SRCROOT%"}}),
                "region": exactly({"startLine": {"type": "integer", "minimum": 1}}),
            }
        )
    },
    {
        "logicalLocations": {
            "type": "array",
            "items": exactly({"fullyQualifiedName": {"type": "string"}, "kind": {"type": "string"}}),
        }
    },
)
RESULT = exactly(
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
            "items": exactly(
                {"kind": {"const": "external"}, "status": {"const": "accepted"}, "justification": {"type": "string"}}
            ),
        },
    },
)
DRIVER = exactly(
    {
        "name": {"const": "gatehouse"},
        "semanticVersion": {"type": "string"},
        "rules": {"type": "array", "items": {"anyOf": [RULE, exactly({"id": {"type": "string", "pattern": "^OWN-"}})]}},
    }
)
LOG = exactly(
    {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": exactly(
                {
                    "tool": exactly({"driver": DRIVER}),
                    "automationDetails": exactly({"id": {"type": "string", "pattern": "/$"}}),
                    "invocations": {
                        "type": "array",
                        "items": exactly({"executionSuccessful": {"const": True}, "exitCode": {"enum": [0, 1]}}),
                    },
                    "originalUriBaseIds": exactly({"%SRCROOT%": exactly({"description": TEXT})}),
                    "columnKind": {"const": "utf16CodeUnits"},
                    "results": {"type": "array", "items": RESULT},
                }
            ),
        },
    }
)


def run_of(findings: Sequence[Finding], **about: str) -> dict[str, Any]:
    run: dict[str, Any] = sarif.document(findings, replace(RUN, **about))["runs"][0]  # type: ignore[arg-type]
    return run


@pytest.mark.requirement("PP-04")
def test_every_outcome_makes_a_log_of_the_published_form() -> None:
    stray = violation(policy="OWN-1", urn="", source="", message="strange. Fix: go")
    broken = violation(policy="GH-BROKEN", message=f"rule GH-S3-001 is broken on {URN}: KeyError. Fix: mend it")
    every = [violation(), violation(level="advisory"), undecided(), undecided("advisory"), exempted(), broken, stray]

    for environment in ("dev", "staging", "prod", "elsewhere"):
        jsonschema.validate(sarif.document(every, replace(RUN, environment=environment)), LOG)


@pytest.mark.requirement("PP-04")
def test_a_result_points_to_the_rule_the_resource_and_the_line() -> None:
    run = run_of([violation()])

    [result] = run["results"]
    described = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (result["ruleId"], result["level"], described["id"]) == ("GH-S3-001", "error", "GH-S3-001")
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
def test_the_place_is_one_in_the_repository(source: str, root: str, uri: str, line: int) -> None:
    [result] = run_of([violation(source=source)], root=root)["results"]

    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (uri, line)


def test_environments_and_programs_do_not_replace_each_other() -> None:
    ids = {run_of([], environment=name, root=root)["automationDetails"]["id"] for name in ("dev", "prod") for root in ("", "a")}

    assert ids == {"policies/./dev/", "policies/./prod/", "policies/a/dev/", "policies/a/prod/"}


def test_every_rule_of_the_catalogue_is_described_once() -> None:
    listed = [one["id"] for one in run_of([])["tool"]["driver"]["rules"]]

    assert sorted(listed) == sorted([*(one.id for one in catalogue.RULES), *(one.id for one in catalogue.META_POLICIES)])


@pytest.mark.requirement("PP-04")
def test_what_is_exempted_is_suppressed_and_what_is_undecided_is_open() -> None:
    suppressed, opened = run_of([exempted(), undecided("advisory")])["results"]

    assert [one["kind"] for one in suppressed["suppressions"]] == ["external"]
    assert (opened["kind"], opened["level"]) == ("open", "none")
