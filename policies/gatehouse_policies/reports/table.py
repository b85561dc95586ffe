"""Findings as a terminal table, grouped by resource and sorted by severity."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pulumi_local.type_tokens import class_name
from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from gatehouse_policies.reports.findings import (
    Finding,
    Run,
    by_resource,
    exit_code,
    grouped,
    resource_name,
    summary,
)

WIDTH = 100
"""Number of columns of a table in a file."""

_SEVERITY_STYLES = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "dim",
}
_OUTCOME_STYLES = {
    "broken": "bold white on red",
    "undecided": "magenta",
    "exempted": "cyan",
    "unused": "yellow",
}
_NAMES_MAX = 3


def table(findings: Sequence[Finding], run: Run) -> Group:
    """A rich renderable: one block per resource, or per group of resources with the same findings,
    then the summary. Findings of the baseline are counted only.
    """
    blocks: list[Any] = []
    for names, group in _groups([finding for finding in findings if not finding.is_known]):
        blocks += [_head(names, group[0]), Padding(_rows(group), (0, 0, 1, 1))]
    blocks += [Text(f"~ {note}", style="cyan") for note in run.notes]
    blocked = exit_code(findings, run) == 1
    line = Line(style="red" if blocked else "green")
    total = Text(summary(findings, run), style="bold red" if blocked else "bold green")
    return Group(
        *blocks, line, total, *_legend([finding for finding in findings if not finding.is_known])
    )


def text(findings: Sequence[Finding], run: Run) -> str:
    console = Console(width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(table(findings, run))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _groups(findings: Sequence[Finding]) -> Iterator[tuple[list[str], list[Finding]]]:
    """Groups of resources with the same type, source line and findings: the resource names and the
    findings of each group.
    """
    groups: dict[tuple[Any, ...], tuple[list[str], list[Finding]]] = {}
    for urn, group in by_resource(findings).items():
        content = frozenset(replace(finding, urn="", passes=()) for finding in group)
        key = (group[0].resource_type, group[0].source, content)
        groups.setdefault(key, ([], group))[0].append(resource_name(urn))
    yield from groups.values()


def _head(names: Sequence[str], finding: Finding) -> Table:
    shown = ", ".join(names[:_NAMES_MAX])
    hidden = len(names) - _NAMES_MAX
    left = Text(f"{shown} and {hidden} more" if hidden > 0 else shown, style="bold")
    left.append(f"  {class_name(finding.resource_type)}", style="dim not bold")
    head = Table.grid(expand=True, padding=(0, 2))
    head.add_column(overflow="fold", ratio=1)
    head.add_column(no_wrap=True, justify="right")
    head.add_row(left, Text(finding.source, style="cyan"))
    return head


def _rows(group: Sequence[Finding]) -> Table:
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(width=1)
    rows.add_column(no_wrap=True, min_width=9)
    rows.add_column(no_wrap=True, min_width=10)
    rows.add_column(overflow="fold")
    for finding, rules, messages in _merged(group):
        content = Text("; ".join(messages))
        if len(rules) > 1:
            content.append(f"\nalso {', '.join(rules[1:])}", style="dim")
        if finding.remedy and finding.outcome != "exempted":
            content.append(f"\n→ {finding.remedy}", style="green")
        rows.add_row(_mark(finding), _label(finding), Text(rules[0], style="bold"), content)
    return rows


def _merged(group: Sequence[Finding]) -> list[tuple[Finding, list[str], list[str]]]:
    """Like `grouped`, but merges findings that differ only in their message. Each entry: finding,
    rules, messages.
    """
    rows: dict[tuple[Any, ...], tuple[Finding, list[str], list[str]]] = {}
    for finding, rules in grouped(group):
        key = (*rules, finding.outcome, finding.level, finding.remedy)
        rows.setdefault(key, (finding, rules, []))[2].append(finding.message)
    return list(rows.values())


def _mark(finding: Finding) -> Text:
    if finding.blocks:
        return Text("✗", style="bold red")
    mark = {"undecided": "?", "exempted": "~"}.get(finding.outcome, "!")
    return Text(mark, style=_OUTCOME_STYLES.get(finding.outcome, "yellow"))


def _label(finding: Finding) -> Text:
    if finding.outcome == "violation":
        return Text(finding.severity, style=_SEVERITY_STYLES.get(finding.severity, ""))
    return Text(finding.outcome, style=_OUTCOME_STYLES[finding.outcome])


def _legend(findings: Sequence[Finding]) -> list[Text]:
    severities = Counter(finding.severity for finding in findings if finding.blocks)
    blocking = ", ".join(
        f"{severities[severity]} {severity}"
        for severity in _SEVERITY_STYLES
        if severities[severity]
    )
    outcomes = {finding.outcome for finding in findings if not finding.blocks}
    marks = (
        ("✗", f"blocks the deployment: {blocking}", bool(severities)),
        ("!", "advisory", bool(outcomes & {"violation", "broken", "unused"})),
        ("?", "undecided", "undecided" in outcomes),
        ("~", "exempted", "exempted" in outcomes),
    )
    legend = [f"{mark} {meaning}" for mark, meaning, present in marks if present]
    return [Text("   ".join(legend), style="dim")] if legend else []
