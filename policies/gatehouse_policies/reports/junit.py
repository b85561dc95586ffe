"""Findings as JUnit XML, with one suite per pack and one test case per rule. A rule fails if it
blocks the deployment, and is skipped if it is undecided for a resource. A suite counts its
undecided results in a property.

The time of the document is the time of the check in seconds, and the time of a suite is the time in
which the pack evaluated the resources."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from gatehouse_policies import catalogue
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.rule import Control
from gatehouse_policies.reports.findings import Finding, Run, count, undecided


def junit(findings: Sequence[Finding], run: Run) -> str:
    """The XML document. Suites for other packs contain only the rules with findings."""
    root = ElementTree.Element("testsuites", name="gatehouse", time=f"{run.seconds:.3f}")
    suites: dict[str, Sequence[Control]] = {
        name: [*catalogue.of_pack(folder), *META_POLICIES]
        for folder, name in catalogue.PACKS.items()
    }
    others = [*(finding.pack for finding in findings), *(each.pack for each in run.level_changes)]
    suites |= {name: [] for name in others if name not in suites}
    for name, policies in suites.items():
        _add_suite(
            root, name, policies, [finding for finding in findings if finding.pack == name], run
        )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_suite(
    root: Any, name: str, policies: Sequence[Control], findings: Sequence[Finding], run: Run
) -> None:
    cases = {policy.id: f"{policy.id} {policy.title}" for policy in policies}
    cases |= {
        finding.rule: finding.rule
        if finding.title == finding.rule
        else f"{finding.rule} {finding.title}"
        for finding in findings
        if finding.rule not in cases
    }
    changes = [change for change in run.level_changes if change.pack == name]
    cases |= {change.rule: change.rule for change in changes if change.rule not in cases}
    suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(cases)), errors="0")
    # A pack evaluates all rules on a resource together, so a test case has no time of its own.
    suite.set("time", f"{run.pack_seconds.get(name, 0.0):.3f}")
    properties = ElementTree.SubElement(suite, "properties")
    for text in (*run.unevaluated, *run.accepted):
        ElementTree.SubElement(properties, "property", name="not evaluated", value=text)
    ElementTree.SubElement(properties, "property", name="undecided", value=str(undecided(findings)))
    failures = skipped = 0
    for rule, title in cases.items():
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{name}.{run.environment}", name=title
        )
        of_rule = [finding for finding in findings if finding.rule == rule]
        if blocking := [finding for finding in of_rule if finding.blocks]:
            failures += 1
            message = count(len(blocking), "violation")
            failure = ElementTree.SubElement(
                case, "failure", type=blocking[0].severity, message=message
            )
            failure.text = "\n".join(_line(finding) for finding in blocking)
        elif why := run.why_disabled(rule):
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=why)
        elif number := undecided(of_rule):
            skipped += 1
            message = f"undecided for {count(number, 'resource')}"
            ElementTree.SubElement(case, "skipped", message=message)
        lines = [str(change) for change in changes if change.rule == rule]
        if others := [finding for finding in of_rule if not finding.blocks]:
            lines += map(_line, others)
        if lines:
            ElementTree.SubElement(case, "system-out").text = "\n".join(lines)
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))


def _line(finding: Finding) -> str:
    source = f" ({finding.source})" if finding.source else ""
    known = "in the baseline, " if finding.is_known else ""
    return (
        f"{known}{finding.outcome}: {finding.urn or 'stack'}{source}: {finding.message}. Fix: "
        f"{finding.remedy}"
    )
