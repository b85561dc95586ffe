"""Findings as one HTML page without scripts and other files, to be filed or sent: the summary, the
changed levels, the findings by resource, and the requirements of frameworks.
"""

from collections.abc import Iterable, Sequence
from html import escape

from pulumi_local.type_tokens import class_name

from gatehouse_policies import catalogue, frameworks
from gatehouse_policies.reports.compliance import requirements
from gatehouse_policies.reports.findings import (
    Finding,
    Run,
    by_resource,
    grouped,
    resource_name,
    summary,
)

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1c2024; background: #fff }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { border: 1px solid #d8dde3; padding: .35rem .6rem; text-align: left; vertical-align: top }
th { background: #f2f4f7 } code { font-size: .9em } h3 { margin: 1.5rem 0 0; font-size: 1rem }
.critical, .high, .broken { color: #a8071a; font-weight: 600 } .medium { color: #8a5a00 }
.low, .undecided, .exempted, .unused, .muted { color: #57606a }
"""


def html(findings: Sequence[Finding], run: Run) -> str:
    stack = "/".join(filter(None, (run.project, run.stack)))
    title = escape(f"Policy check of {stack or run.environment}")
    groups = by_resource([finding for finding in findings if not finding.is_known])
    notes = "".join(f"<li>{escape(note)}</li>" for note in run.notes)
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>{escape(summary(findings, run))}.</p>",
        f"<ul>{notes}</ul>" if notes else "",
        "<h2>Findings</h2>" if groups else "<p>No findings.</p>",
        *(_resource(urn, group) for urn, group in groups.items()),
        *(_framework(framework, findings, run) for framework in _shown(run)),
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _shown(run: Run) -> Iterable[frameworks.Framework]:
    known = frameworks.frameworks()
    return [known[run.gate.framework]] if run.gate.framework else known.values()


def _resource(urn: str, group: Sequence[Finding]) -> str:
    first = group[0]
    source = f" · {escape(first.source)}" if first.source else ""
    rows = [
        (
            f'<span class="{label}">{label}</span>',
            f"{escape(finding.level)}",
            ", ".join(map(_link, rules)),
            escape(finding.message) + _more(finding),
        )
        for finding, rules in grouped(group)
        for label in [finding.severity if finding.outcome == "violation" else finding.outcome]
    ]
    kind = escape(class_name(first.resource_type)) or "stack"
    head = f"<h3>{escape(resource_name(urn))}</h3><code>{kind}</code>{source}"
    return head + _table(("severity", "level", "control", "finding"), rows)


def _more(finding: Finding) -> str:
    control = catalogue.find(finding.rule) if finding.outcome == "violation" else None
    why = control.rationale if control else ""
    fix = f"<br>→ {escape(finding.remedy)}" if finding.remedy else ""
    return fix + (f'<br><span class="muted">{escape(why)}</span>' if why else "")


def _link(rule: str) -> str:
    control = catalogue.find(rule)
    return f'<a href="{escape(control.url)}">{escape(rule)}</a>' if control else escape(rule)


def _framework(framework: frameworks.Framework, findings: Sequence[Finding], run: Run) -> str:
    rows = [
        (escape(each.id), escape(each.state), ", ".join(map(_link, each.controls)))
        for each in requirements(framework, findings, run)
    ]
    head = (
        f"<h2>{escape(framework.name)}</h2><p>Mapping of {framework.date} from "
        f'<a href="{escape(framework.source)}">{escape(framework.source)}</a>. Requirements '
        f"without a control are not listed.</p>"
    )
    return head + _table(("requirement", "result", "controls"), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
