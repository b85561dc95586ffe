"""Findings as SARIF 2.1.0, the form that code scanning takes; runs no rule.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from policies import catalogue
from policies.engine.rule import ENVIRONMENTS, Level, Rule
from policies.reports.findings import Finding, Run

# GitHub code scanning ranks by this number: https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
_SECURITY_SEVERITY = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0"}
# GitHub refuses a rule with more tags (the same page); docs/policies.md has all of them.
_TAGS_MAX = 20
_ROOT = "%SRCROOT%"


def document(findings: Sequence[Finding], run: Run) -> dict[str, Any]:
    """One run, with every rule of the catalogue. Each result names a file and a line, as code scanning demands.

    Where no line declares a resource, as for a default provider, that is the first line of `run.file`.
    """
    described: list[Any] = [*catalogue.RULES, *catalogue.COMPANIONS]
    strangers = dict.fromkeys(one.rule for one in findings if catalogue.find(one.rule) is None)
    index = {id: at for at, id in enumerate([*(one.id for one in described), *strangers])}
    environment = run.environment if run.environment in ENVIRONMENTS else "prod"
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "gatehouse",
                        "semanticVersion": "0.1.0",
                        # Of a rule of somebody else's pack only the id is known.
                        "rules": [*(_rule(one, environment) for one in described), *({"id": id} for id in strangers)],
                    }
                },
                # Results of two environments with the same id would replace each other.
                "automationDetails": {"id": f"policies/{run.root or '.'}/{run.environment}/"},
                "invocations": [{"executionSuccessful": True, "exitCode": 1 if any(one.stops for one in findings) else 0}],
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The top folder of the repository."}}},
                "columnKind": "utf16CodeUnits",
                "results": [_result(one, index, run) for one in findings],
            }
        ],
    }


def _rule(one: Any, environment: str) -> dict[str, Any]:
    tags = ["security" if not isinstance(one, Rule) or one.pack == "security" else "resilience"]
    if isinstance(one, Rule):
        maps = one.upstream
        tags += [*maps.security_hub, *(f"CIS {cis}" for cis in maps.cis), *maps.checkov, *maps.prowler, *maps.cdk_nag]
    told = one.levels[environment]
    return {
        "id": one.id,
        "shortDescription": {"text": one.title},
        "fullDescription": {"text": one.why if isinstance(one, Rule) else one.title},
        "help": {"text": f"Fix: {one.remedy}"},
        "helpUri": one.url,
        "defaultConfiguration": {
            "enabled": told is not Level.DISABLED,
            "level": "error" if told is Level.MANDATORY else "warning",
        },
        "properties": {"tags": list(dict.fromkeys(tags))[:_TAGS_MAX], "security-severity": _SECURITY_SEVERITY[one.severity]},
    }


def _result(one: Finding, index: dict[str, int], run: Run) -> dict[str, Any]:
    # "open" is SARIF's word for a rule that lacked the information to decide; it must have no level then.
    undecided = one.outcome == "undecided" and not one.stops
    level = "none" if undecided else "error" if one.stops else "note" if one.outcome == "exempted" else "warning"
    result: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": index[one.rule],
        "kind": "open" if undecided else "fail",
        "level": level,
        "message": {"text": f"{one.message}. Fix: {one.remedy}" if one.remedy else one.message},
        "partialFingerprints": {"ruleAndResource/v1": f"{one.rule}|{one.urn}|{one.message}"},
        "properties": {"pack": one.pack, "outcome": one.outcome, "passes": list(one.passes)},
        "locations": [_location(one, run)],
    }
    if one.outcome == "exempted":
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": one.message}]
    return result


def _location(one: Finding, run: Run) -> dict[str, Any]:
    file, _, line = one.source.rpartition(":")
    known = bool(file) and line.isdigit() and int(line) > 0
    path = "/".join(part for part in (run.root, file if known else run.file) if part).replace("\\", "/")
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(path), "uriBaseId": _ROOT},
            "region": {"startLine": int(line) if known else 1},
        }
    }
    if one.urn:
        place["logicalLocations"] = [{"fullyQualifiedName": one.urn, "kind": "resource"}]
    return place
