"""The requirements of a framework, and what a check found about their controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from gatehouse_policies import catalogue
from gatehouse_policies.engine.rule import Level, Rule
from gatehouse_policies.frameworks import Framework
from gatehouse_policies.reports.findings import Finding, Run, count


@dataclass(frozen=True)
class Requirement:
    """A requirement, its controls, and the result of the check.

    state: "violated (2 findings)", "undecided", "exempted", "not evaluated" if each control is
        disabled, otherwise "no findings".
    """

    id: str
    controls: tuple[str, ...]
    state: str


def requirements(framework: Framework, findings: Sequence[Finding], run: Run) -> list[Requirement]:
    """The requirements that a control covers. Findings of a baseline count, because the resource
    does not meet the requirement.
    """
    rules: dict[str, list[Rule]] = {}
    for rule in catalogue.RULES:
        for id in framework.of(rule):
            rules.setdefault(id, []).append(rule)
    return [
        Requirement(id, tuple(rule.id for rule in rules[id]), _state(rules[id], findings, run))
        for id in sorted(rules, key=framework.order)
    ]


def _state(rules: Sequence[Rule], findings: Sequence[Finding], run: Run) -> str:
    ids = {rule.id for rule in rules}
    outcomes = [finding.outcome for finding in findings if finding.rule in ids]
    violations = sum(outcome in ("violation", "broken") for outcome in outcomes)
    if violations:
        return f"violated ({count(violations, 'finding')})"
    for outcome in ("undecided", "exempted"):
        if outcome in outcomes:
            return outcome
    enabled = any(run.level(rule) is not Level.DISABLED for rule in rules)
    return "no findings" if enabled else "not evaluated"
