"""Findings as SARIF 2.1.0, for code scanning.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from gatehouse_policies import catalogue, frameworks
from gatehouse_policies.engine.meta_policies import META_POLICIES, UNDECIDED
from gatehouse_policies.engine.rule import Control, Level
from gatehouse_policies.reports.findings import Finding, LevelChange, Run, exit_code, undecided

# GitHub code scanning sorts by this number: https://docs.github.com/en/code-security (SARIF support
# for code scanning)
_SECURITY_SEVERITY = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0"}
# Maximum number of tags per rule that GitHub accepts (same page).
_TAGS_MAX = 20
_ROOT = "%SRCROOT%"
_VERSION = version("gatehouse-policies")


def document(findings: Sequence[Finding], run: Run) -> dict[str, Any]:
    """One SARIF run with all rules of the catalogue. Each result has a file and a line, as code
    scanning requires.

    Exempted findings are suppressed results. GitHub code scanning opens an alert for them as well,
    so action.yml removes them from the file that is uploaded.

    A resource without a source line, such as a default provider, is reported on the first line of
    `run.file`.

    Code scanning shows the severity of a rule with each of its results. Undecided results therefore
    belong to the rule GH-UNDECIDED, which has no severity here.
    """
    policies: list[Control] = [*catalogue.RULES, *META_POLICIES]
    other_rules = {
        finding.rule: finding
        for finding in reversed(findings)
        if catalogue.find(finding.rule) is None
    }
    index = {
        id: position
        for position, id in enumerate([*(policy.id for policy in policies), *other_rules])
    }
    rules = [
        *(_rule(policy, run.level(policy)) for policy in policies),
        *map(_other_rule, other_rules.values()),
        *(_disabled_rule(change) for change in run.level_changes if _is_other(change)),
    ]
    invocation = {
        "executionSuccessful": True,
        "exitCode": exit_code(findings, run),
        "toolExecutionNotifications": [
            {"level": "note", "message": {"text": text}} for text in run.notes
        ],
    }
    report: dict[str, Any] = {
        "tool": {"driver": {"name": "gatehouse", "semanticVersion": _VERSION, "rules": rules}},
        # A run replaces earlier results with the same ID, so the ID contains the environment.
        "automationDetails": {"id": f"policies/{run.root or '.'}/{run.environment}/"},
        "invocations": [invocation],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "Top folder of the repository."}}},
        "columnKind": "utf16CodeUnits",
        "properties": {"undecided": undecided(findings), "absent": run.absent},
        "results": _results(findings, index, run),
        "taxonomies": _taxonomies(),
    }
    report["tool"]["driver"]["supportedTaxonomies"] = [
        {"name": row["name"], "index": index} for index, row in enumerate(report["taxonomies"])
    ]
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return {"$schema": schema, "version": "2.1.0", "runs": [report]}


def _is_other(change: LevelChange) -> bool:
    """True for a disabled rule of another pack, which has no findings."""
    return change.level == Level.DISABLED and catalogue.find(change.rule) is None


def _disabled_rule(change: LevelChange) -> dict[str, Any]:
    return {"id": change.rule, "defaultConfiguration": {"enabled": False}}


def _rule(policy: Control, level: Level) -> dict[str, Any]:
    severity = _SECURITY_SEVERITY[policy.severity]
    return {
        "id": policy.id,
        "shortDescription": {"text": policy.title},
        "fullDescription": {"text": policy.rationale or policy.title},
        "help": {"text": f"Fix: {policy.remedy}"},
        "helpUri": policy.url,
        "defaultConfiguration": {
            "enabled": level is not Level.DISABLED,
            "level": "error" if level is Level.MANDATORY else "warning",
        },
        **({"relationships": taxa} if (taxa := _relationships(policy)) else {}),
        "properties": {
            "tags": list(dict.fromkeys([policy.pack, *policy.upstream_ids()]))[:_TAGS_MAX],
            **({} if policy is UNDECIDED else {"security-severity": severity}),
        },
    }


def _relationships(policy: Control) -> list[dict[str, Any]]:
    """The requirements of frameworks that a rule covers."""
    return [
        {
            "target": {"id": id, "toolComponent": {"name": frameworks.frameworks()[name].name}},
            "kinds": ["relevant"],
        }
        for name, requirements in frameworks.of_control(policy).items()
        for id in requirements
    ]


def _taxonomies() -> list[dict[str, Any]]:
    return [
        {
            "name": framework.name,
            "version": framework.version,
            "releaseDateUtc": framework.date.isoformat(),
            "informationUri": framework.source,
            "taxa": [
                {"id": id}
                for id in sorted(
                    {id for rule in catalogue.RULES for id in framework.of(rule)},
                    key=framework.order,
                )
            ],
        }
        for framework in frameworks.frameworks().values()
    ]


def _other_rule(finding: Finding) -> dict[str, Any]:
    """A rule of another pack, of which the report knows the texts in its findings."""
    rule = {"id": finding.rule, "shortDescription": {"text": finding.title}}
    return rule | ({"help": {"text": f"Fix: {finding.remedy}"}} if finding.remedy else {})


def _results(findings: Sequence[Finding], index: dict[str, int], run: Run) -> list[dict[str, Any]]:
    """The results. Findings with the same identity, for example of resources with the same name in
    two components, are counted.
    """
    seen: Counter[str] = Counter()
    rows = []
    for finding in findings:
        digest = hashlib.sha256("\0".join(finding.identity).encode()).hexdigest()[:32]
        seen[digest] += 1
        rows.append(_result(finding, f"{digest}:{seen[digest]}", index, run))
    return rows


def _result(finding: Finding, fingerprint: str, index: dict[str, int], run: Run) -> dict[str, Any]:
    # The kind "open" is for rules without sufficient information; its level must be "none".
    is_open = finding.outcome == "undecided"
    rule = UNDECIDED.id if is_open else finding.rule
    subject = f"{finding.rule} {finding.message}" if is_open else finding.message
    level = "none" if is_open else "error" if finding.blocks else "warning"
    state = {"baselineState": finding.baseline} if finding.baseline else {}
    return {
        "ruleId": rule,
        "ruleIndex": index[rule],
        "kind": "open" if is_open else "fail",
        "level": level,
        "message": {"text": f"{subject}. Fix: {finding.remedy}" if finding.remedy else subject},
        # Code scanning identifies an alert by this fingerprint. Its default, a hash of the line, is
        # not unique.
        "partialFingerprints": {
            "primaryLocationLineHash": fingerprint,
            "ruleAndResource/v2": fingerprint,
        },
        **state,
        # If a result has the property, all of a run have it (3.27.23).
        "suppressions": _suppressions(finding),
        "properties": {
            "pack": finding.pack,
            "outcome": finding.outcome,
            "severity": finding.severity,
            "passes": list(finding.passes),
        },
        "locations": [_location(finding, run)],
    }


_EXEMPTED = re.compile(
    r".*? until (?P<expires>\S+) (?P<place>at|by) .+?: (?P<reason>.*)", re.DOTALL
)


def _suppressions(finding: Finding) -> list[dict[str, Any]]:
    match = _EXEMPTED.fullmatch(finding.message) if finding.outcome == "exempted" else None
    if match is None:
        return []
    return [
        {
            "kind": "inSource" if match["place"] == "at" else "external",
            "status": "accepted",
            "justification": match["reason"],
            "properties": {"expires": match["expires"]},
        }
    ]


def _location(finding: Finding, run: Run) -> dict[str, Any]:
    file, _, line = finding.source.rpartition(":")
    known = bool(file) and line.isdigit() and int(line) > 0
    path = posixpath.normpath(
        posixpath.join(run.root, (file if known else run.file).replace("\\", "/"))
    )
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(path), "uriBaseId": _ROOT},
            "region": {"startLine": int(line) if known else 1},
        }
    }
    if finding.urn:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.urn, "kind": "resource"}]
    return location
