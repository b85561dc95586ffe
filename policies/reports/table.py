"""Findings as a table that a person reads in a terminal: by resource, the worst first, each with what to type."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from policies.reports.findings import Finding, Run, by_resource, exit_code, name_of, rows, summary

WIDTH = 100
"""Columns of a table in a file."""

_SEVERITIES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "dim"}
_OUTCOMES = {"broken": "bold white on red", "undecided": "magenta", "exempted": "cyan", "unused": "yellow"}
_NAMES_MAX = 3


def table(findings: Sequence[Finding], run: Run) -> Group:
    """A rich renderable: one block a resource (or for resources that lack the same), then what it comes to."""
    blocks: list[Any] = []
    for names, group in _alike(findings):
        blocks += [_head(names, group[0]), Padding(_listed(group), (0, 0, 1, 1))]
    stops = exit_code(findings) == 1
    line = Line(style="red" if stops else "green")
    return Group(*blocks, line, Text(summary(findings, run), style="bold red" if stops else "bold green"), *_legend(findings))


def text(findings: Sequence[Finding], run: Run, width: int = WIDTH) -> str:
    """The table without colours, for a file."""
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(table(findings, run))
    return "\n".join(one.rstrip() for one in captured.get().splitlines()) + "\n"


def _alike(findings: Sequence[Finding]) -> Iterator[tuple[list[str], list[Finding]]]:
    """Resources of one type and line of which exactly the same is said share a block."""
    blocks: dict[tuple[Any, ...], tuple[list[str], list[Finding]]] = {}
    for urn, group in by_resource(findings).items():
        said = frozenset(replace(one, urn="", passes=()) for one in group)
        key = (group[0].resource_type, group[0].source, said)
        blocks.setdefault(key, ([], group))[0].append(name_of(urn))
    yield from blocks.values()


def _head(names: Sequence[str], one: Finding) -> Table:
    """The resource on the left, where it is declared on the right."""
    shown = ", ".join(names[:_NAMES_MAX])
    more = len(names) - _NAMES_MAX
    left = Text(f"{shown} and {more} more" if more > 0 else shown, style="bold")
    left.append(f"  {_class(one.resource_type)}", style="dim not bold")
    head = Table.grid(expand=True, padding=(0, 2))
    head.add_column(overflow="fold", ratio=1)
    head.add_column(no_wrap=True, justify="right")
    head.add_row(left, Text(one.source, style="cyan"))
    return head


def _listed(group: Sequence[Finding]) -> Table:
    listed = Table.grid(padding=(0, 2, 0, 0))
    listed.add_column(width=1)
    listed.add_column(no_wrap=True, min_width=9)
    listed.add_column(no_wrap=True, min_width=10)
    listed.add_column(overflow="fold")
    for one, rules, messages in _rows(group):
        said = Text("; ".join(messages))
        if len(rules) > 1:
            said.append(f"\nwith it {', '.join(rules[1:])}", style="dim")
        if one.remedy and one.outcome != "exempted":
            said.append(f"\n→ {one.remedy}", style="green")
        listed.add_row(_mark(one), _label(one), Text(rules[0], style="bold"), said)
    return listed


def _rows(group: Sequence[Finding]) -> list[tuple[Finding, list[str], list[str]]]:
    """As `rows`, and what one rule says several times with the same remedy shares a row too."""
    shared: dict[tuple[Any, ...], tuple[Finding, list[str], list[str]]] = {}
    for one, rules in rows(group):
        shared.setdefault((*rules, one.outcome, one.level, one.remedy), (one, rules, []))[2].append(one.message)
    return list(shared.values())


def _class(token: str) -> str:
    """`aws:s3/bucket:Bucket` as a program writes it: aws.s3.Bucket."""
    parts = token.split(":")
    return f"aws.{parts[1].partition('/')[0]}.{parts[2]}" if parts[0] == "aws" and len(parts) == 3 else token


def _mark(one: Finding) -> Text:
    if one.stops:
        return Text("✗", style="bold red")
    return Text({"undecided": "?", "exempted": "~"}.get(one.outcome, "!"), style=_OUTCOMES.get(one.outcome, "yellow"))


def _label(one: Finding) -> Text:
    if one.outcome == "violation":
        return Text(one.severity, style=_SEVERITIES.get(one.severity, ""))
    return Text(one.outcome, style=_OUTCOMES[one.outcome])


def _legend(findings: Sequence[Finding]) -> list[Text]:
    """The marks that were used, in words."""
    worst = Counter(one.severity for one in findings if one.stops)
    stops = ", ".join(f"{worst[severity]} {severity}" for severity in _SEVERITIES if worst[severity])
    kinds = (
        ("✗", f"stops the deployment: {stops}", bool(worst)),
        ("!", "advice", any(not one.stops and one.outcome in ("violation", "broken", "unused") for one in findings)),
        ("?", "not known before the deployment", any(not one.stops and one.outcome == "undecided" for one in findings)),
        ("~", "exempted", any(one.outcome == "exempted" for one in findings)),
    )
    used = [f"{mark} {meaning}" for mark, meaning, seen in kinds if seen]
    return [Text("   ".join(used), style="dim")] if used else []
