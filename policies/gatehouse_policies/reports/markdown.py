"""Findings as Markdown for a pull request comment or a job summary. The page has a summary line and
one table per resource.
"""

from collections.abc import Sequence

from gatehouse_policies import catalogue, frameworks
from gatehouse_policies.reports.compliance import requirements
from gatehouse_policies.reports.findings import (
    Finding,
    Run,
    by_resource,
    count,
    grouped,
    resource_name,
    summary,
)

COMMENT_CHARS_MAX = 50_000
"""Characters after which no resource is added. GitHub accepts 65,536 characters in a comment."""


def markdown(findings: Sequence[Finding], run: Run) -> str:
    """The Markdown page. Resources for which a comment has no space are counted in the last
    line.
    """
    lines = [f"# Policy check: {run.environment}", "", f"{summary(findings, run)}.", ""]
    lines += [f"- {_cell(note)}" for note in run.notes]
    lines += [""] if run.notes else []
    lines += _framework(findings, run)
    groups = by_resource([finding for finding in findings if not finding.is_known])
    for number, (urn, group) in enumerate(groups.items()):
        if sum(len(line) + 1 for line in lines) > COMMENT_CHARS_MAX:
            lines.append(
                f"{count(len(groups) - number, 'other resource')} with findings: see the other "
                f"reports."
            )
            break
        source = f" · `{group[0].source}`" if group[0].source else ""
        lines += [
            f"## {_cell(resource_name(urn))}",
            "",
            f"`{group[0].resource_type or 'stack'}`{source}",
            "",
        ]
        lines += ["| level | rule | message | fix |", "| --- | --- | --- | --- |"]
        for finding, rules in grouped(group):
            label = finding.level if finding.outcome == "violation" else finding.outcome
            links = ", ".join(_link(rule) for rule in rules)
            lines.append(
                f"| {label} | {links} | {_cell(finding.message)} | {_cell(finding.remedy)} |"
            )
        lines.append("")
    return "\n".join(lines)


def _framework(findings: Sequence[Finding], run: Run) -> list[str]:
    """The requirements of the framework that selects the controls."""
    framework = frameworks.frameworks().get(run.gate.framework)
    if framework is None:
        return []
    rows = (
        f"| {each.id} | {each.state} | {', '.join(map(_link, each.controls))} |"
        for each in requirements(framework, findings, run)
    )
    head = ["| requirement | result | controls |", "| --- | --- | --- |"]
    return [f"## {framework.name}", "", *head, *rows, ""]


def _link(rule: str) -> str:
    policy = catalogue.find(rule)
    return f"[{rule}]({policy.url})" if policy else rule


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
