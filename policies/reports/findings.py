"""Turns what the packs said into findings, and findings into JUnit XML and Markdown; runs no rule. The other forms are
in `table` and `sarif`.

A finding is made from an Analyzer diagnostic by `finding`; the text forms that it takes apart are the ones pack.py
writes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from xml.etree import ElementTree

from policies import catalogue
from policies.catalogue import BROKEN, EXEMPT_USED, UNDECIDED, UNDECIDED_ALLOWED
from policies.engine.rule import Level

Outcome = Literal["violation", "undecided", "broken", "exempted", "unused"]

_UNDECIDED_FORM = re.compile(
    r"^(?P<rule>\S+) could not be decided for (?P<urn>.+?): (?P<path>\S+) is unknown(?P<reason>, .*)?$", re.DOTALL
)
_EXEMPTED_FORM = re.compile(r"^(?P<rule>\S+) is exempted for (?P<urn>\S+) until ", re.DOTALL)
_BROKEN_FORM = re.compile(r"^rule (?P<rule>\S+) is broken on ")
# Control characters and those that turn the direction of writing: a name in a foreign program could play with a terminal,
# and XML has no form for them.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_SEVERITIES = {"critical": 0, "high": 1, "medium": 2, "low": 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a pack said about one resource.

    `rule` is the control it is about, also when a companion policy told it. `message` says what is wrong, `remedy`
    what to type.
    `passes` names the runs that saw it, such as ("unknown", "known"). `source` is "file:line" of the program, or "".
    """

    rule: str
    title: str
    pack: str
    level: str
    urn: str
    resource_type: str
    message: str
    remedy: str
    severity: str
    outcome: Outcome
    passes: tuple[str, ...] = ()
    source: str = ""

    @property
    def stops(self) -> bool:
        """True when this finding stops a deployment."""
        return self.level == Level.MANDATORY and self.outcome not in ("exempted", "unused")


@dataclass(frozen=True, slots=True)
class Run:
    """What was checked, for the head of a report.

    `root` is the program's folder in its repository, "" at the top; `file` stands there for what no line declares.
    `audit` says that no exemption was applied, `invented` which provider functions were answered with made-up values.
    """

    environment: str
    resources: int
    seconds: float = 0.0
    root: str = ""
    file: str = "Pulumi.yaml"
    audit: bool = False
    invented: tuple[str, ...] = ()


def finding(
    *,
    pack: str,
    policy: str,
    message: str,
    level: str,
    urn: str,
    resource_type: str = "",
    passes: Iterable[str] = (),
    source: str = "",
) -> Finding:
    """Makes a finding of one diagnostic of a pack.

    `pack` is the pack's name or folder, `policy`, `message`, `urn` are the diagnostic's fields, `level` is "advisory"
    or "mandatory". The SDK puts the policy's description above the message; that line is dropped.
    """
    message, urn, resource_type, source = (_UNSHOWABLE.sub("\ufffd", one) for one in (message, urn, resource_type, source))
    known = catalogue.find(policy)
    text = message.removeprefix(f"{known.title}\n") if known else message
    what, _, fix = text.partition(". Fix: ")
    outcome: Outcome = "violation"
    about = policy
    if policy in (UNDECIDED.id, UNDECIDED_ALLOWED.id) and (match := _UNDECIDED_FORM.match(what)):
        outcome, about, urn = "undecided", match["rule"], match["urn"]
        what = f"could not be decided: {match['path']} is unknown{match['reason'] or ''}"
    elif policy == BROKEN.id and (match := _BROKEN_FORM.match(what)):
        outcome, about = "broken", match["rule"]
    elif policy == EXEMPT_USED.id:
        match = _EXEMPTED_FORM.match(what)
        outcome, about = ("exempted", match["rule"]) if match else ("unused", policy)
    subject = catalogue.find(about)
    return Finding(
        rule=about,
        title=subject.title if subject else about,
        pack=catalogue.PACKS.get(pack, pack),
        level=level,
        urn=urn,
        resource_type=resource_type or _type_of(urn),
        message=what,
        remedy=fix or (known.remedy if known else ""),
        severity=str(subject.severity) if subject else "medium",
        outcome=outcome,
        passes=tuple(passes),
        source=source,
    )


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for what several runs (outputs unknown, then known) said alike, worst first.

    Something that one run could not decide is dropped when another run decided it as a violation.
    """
    merged: dict[tuple[str, str, str, str, str], Finding] = {}
    for one in findings:
        key = (one.pack, one.rule, one.urn, one.outcome, one.message)
        known = merged.get(key)
        passes = (*known.passes, *(p for p in one.passes if p not in known.passes)) if known else one.passes
        merged[key] = replace(known or one, passes=passes, source=(known.source if known else "") or one.source)
    violated = {(one.rule, one.urn) for one in merged.values() if one.outcome == "violation"}
    kept = [one for one in merged.values() if one.outcome != "undecided" or (one.rule, one.urn) not in violated]
    return sorted(kept, key=_rank)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when something stops the deployment, else 0."""
    return 1 if any(one.stops for one in findings) else 0


def _rank(one: Finding) -> tuple[bool, int, int, str, str]:
    told = {"violation": 0, "broken": 0, "undecided": 1, "unused": 2, "exempted": 3}
    return (not one.stops, told[one.outcome], _SEVERITIES.get(one.severity, 9), one.urn, one.rule)


def _type_of(urn: str) -> str:
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) >= 4 else ""


def name_of(urn: str) -> str:
    return urn.rpartition("::")[2] or "the whole stack"


def by_resource(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Groups by resource; resources and their findings both worst first."""
    groups: dict[str, list[Finding]] = {}
    for one in sorted(findings, key=_rank):
        groups.setdefault(one.urn, []).append(one)
    return groups


def rows(group: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """The findings of one resource; rules that could not be decided for the same reason share a row."""
    rows: dict[tuple[str, ...], tuple[Finding, list[str]]] = {}
    for one in group:
        key = (one.outcome, one.level, one.message, "" if one.outcome == "undecided" else one.rule)
        rows.setdefault(key, (one, []))[1].append(one.rule)
    return list(rows.values())


def _count(findings: Sequence[Finding]) -> str:
    stops = sum(one.stops for one in findings)
    kinds = {
        "advisory": sum(not one.stops and one.outcome in ("violation", "broken") for one in findings),
        "undecided": sum(not one.stops and one.outcome == "undecided" for one in findings),
        "exempted": sum(one.outcome == "exempted" for one in findings),
    }
    parts = [f"{stops} to mend" if stops else "nothing to mend"]
    return ", ".join(parts + [f"{number} {kind}" for kind, number in kinds.items() if number])


def summary(findings: Sequence[Finding], run: Run) -> str:
    rules = len(catalogue.enabled(run.environment)) if run.environment in ("dev", "staging", "prod") else len(catalogue.RULES)
    took = f" in {run.seconds:.1f} s" if run.seconds else ""
    audit = " without exemptions" if run.audit else ""
    made_up = f"; what an account would tell was made up: {', '.join(run.invented)}" if run.invented else ""
    return f"{run.environment}: {rules} rules over {run.resources} resources{audit}{took}: {_count(findings)}{made_up}"


# --- JUnit
# ---------------------------------------------------------------------------------------------------------------


def junit(findings: Sequence[Finding], run: Run) -> str:
    """JUnit XML: a suite for each pack, a case for each rule; a rule fails when something stops the deployment.

    Of a pack that is not ours only the rules that spoke are known.
    """
    root = ElementTree.Element("testsuites", name="gatehouse")
    ours = {name: [*catalogue.of_pack(folder), *catalogue.COMPANIONS] for folder, name in catalogue.PACKS.items()}
    strangers = dict.fromkeys(one.pack for one in findings if one.pack not in ours)
    for name, cases in [*ours.items(), *((name, []) for name in strangers)]:
        _suite(root, name, cases, [one for one in findings if one.pack == name], run)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: Any, name: str, known: Sequence[Any], said: Sequence[Finding], run: Run) -> None:
    titles = {one.id: f"{one.id} {one.title}" for one in known} | {one.rule: one.rule for one in said if one.rule == one.title}
    off = {one.id for one in known if one.levels.get(run.environment) is Level.DISABLED}
    suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(titles)), errors="0")
    failures = skipped = 0
    for rule, title in titles.items():
        case = ElementTree.SubElement(suite, "testcase", classname=f"{name}.{run.environment}", name=title)
        mine = [one for one in said if one.rule == rule]
        if stopping := [one for one in mine if one.stops]:
            failures += 1
            failure = ElementTree.SubElement(case, "failure", type=stopping[0].severity, message=f"{len(stopping)} to mend")
            failure.text = "\n".join(_line(one) for one in stopping)
        elif rule in off:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=f"not looked for in {run.environment}")
        if rest := [one for one in mine if not one.stops]:
            ElementTree.SubElement(case, "system-out").text = "\n".join(_line(one) for one in rest)
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))


def _line(one: Finding) -> str:
    where = f" ({one.source})" if one.source else ""
    return f"{one.outcome}: {one.urn or 'the whole stack'}{where}: {one.message}. Fix: {one.remedy}"


# --- Markdown
# ------------------------------------------------------------------------------------------------------------


def markdown(findings: Sequence[Finding], run: Run) -> str:
    """A page for a pull request or a job summary: the count first, then a table a resource."""
    lines = [f"# Policy check: {run.environment}", "", f"{summary(findings, run)}.", ""]
    for urn, group in by_resource(findings).items():
        place = f" · `{group[0].source}`" if group[0].source else ""
        lines += [f"## {_cell(name_of(urn))}", "", f"`{group[0].resource_type or 'stack'}`{place}", ""]
        lines += ["| level | rule | what is wrong | fix |", "| --- | --- | --- | --- |"]
        for one, rules in rows(group):
            label = one.level if one.outcome == "violation" else one.outcome
            links = ", ".join(_link(rule) for rule in rules)
            lines.append(f"| {label} | {links} | {_cell(one.message)} | {_cell(one.remedy)} |")
        lines.append("")
    return "\n".join(lines)


def _link(rule: str) -> str:
    known = catalogue.find(rule)
    return f"[{rule}]({known.url})" if known else rule


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
