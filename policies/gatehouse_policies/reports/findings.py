"""Converts the diagnostics from the packs to findings, which all reports use.

`from_diagnostic` parses the messages that engine/pack.py writes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gatehouse_policies import catalogue
from gatehouse_policies.engine.guard import MALFORMED, UNGRAMMATICAL
from gatehouse_policies.engine.meta_policies import (
    BROKEN,
    EXEMPTION_USED,
    UNDECIDED,
    UNDECIDED_ALLOWED,
)
from gatehouse_policies.engine.rule import ENVIRONMENTS, Control, Level, Rule
from gatehouse_policies.gate import Gate

Outcome = Literal["violation", "undecided", "broken", "exempted", "unused"]

_UNDECIDED_MESSAGE = re.compile(
    (
        r"^(?P<rules>\S+(?:, \S+)*) could not be decided for (?P<urn>.+?): (?P<path>.+?) is "
        r"unknown(?P<reason>, .*)?$"
    ),
    re.DOTALL,
)
_ACCEPTED = ", which is accepted"
_PROPERTY = re.compile(r"could not be decided: (?P<path>.+?) is unknown")
_EXEMPTED_MESSAGE = re.compile(r"^(?P<rule>\S+) is exempted for (?P<urn>.+?) until ", re.DOTALL)
_BROKEN_MESSAGE = re.compile(r"^rule (?P<rule>\S+) raised ")
# Control characters, which XML cannot represent, and characters that change the text direction in a
# terminal. Names in a program are untrusted.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# Lines of a program, addresses of objects, and the version in the name of a default provider.
_VOLATILE = re.compile(r"[^\s:]+:\d+: |0x[0-9a-f]+|(?<=^default)_\d\w*$")
PASSES = ("unknown", "known")
"""Runs with the unknown outputs of a first preview, and with fake IDs and ARNs. A check uses the
first only if a program fails in the second."""
_SEVERITY_RANK = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_OUTCOME_RANK = {"violation": 0, "broken": 0, "undecided": 1, "unused": 2, "exempted": 3}


@dataclass(frozen=True)
class Finding:
    """One result of a pack for one resource.

    rule: the control that the finding is about, even if a meta policy reported the finding.
    level, severity: those of the control; "" if the result is undecided.
    message: the defect.
    remedy: the fix.
    passes: the runs that reported the finding, such as ("unknown", "known").
    source: "file:line" in the program, or "".
    baseline: "new" or "unchanged" in a check with a baseline, as `baselineState` in SARIF.
    is_compared: False if the finding has unknown values, which can differ from those of the
        baseline.
    facts: what the rule read (engine/facts.py); None if the pack does not say it.
    aliases: earlier URNs of the resource.
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
    baseline: str = ""
    is_compared: bool = True
    facts: Mapping[str, Any] | None = field(default=None, compare=False)
    aliases: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """True if the baseline contains the finding."""
        return self.baseline == "unchanged"

    @property
    def blocks(self) -> bool:
        is_violation = self.outcome in ("violation", "broken")
        return is_violation and self.level == Level.MANDATORY and not self.is_known

    @property
    def identities(self) -> tuple[tuple[str, str, str, str], ...]:
        """The identity, and those under earlier URNs of the resource."""
        earlier = (replace(self, urn=urn, resource_type=type_of(urn)) for urn in self.aliases)
        return (self.identity, *(finding.identity for finding in earlier))

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What the same finding has in other commits, and in other stacks of the project: control,
        type and name of the resource, and message. Lines are left out, and the name of the stack is
        replaced.
        """
        stack = self.urn.partition("::")[0].rpartition(":")[2]
        name, message = (
            _VOLATILE.sub("", text) for text in (resource_name(self.urn), self.message)
        )
        if stack:
            own = re.compile(rf"(?<![^\W_]){re.escape(stack)}(?![^\W_])")
            name, message = (own.sub("<stack>", text) for text in (name, message))
        return (self.rule, self.resource_type, name, message)


@dataclass(frozen=True)
class LevelChange:
    """A level that a configuration file sets.

    default: the level of the control in the environment, "" if it is not in the catalogue.
    source: name of the file.
    """

    rule: str
    pack: str
    level: str
    default: str
    source: str
    reason: str = ""

    def __str__(self) -> str:
        default = f", by default {self.default}" if self.default else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.rule} is {self.level} by {self.source}{default}{reason}"


@dataclass(frozen=True)
class Run:
    """Parameters and statistics of a check.

    root: folder of the program in its repository, "" for the top folder.
    file: file in which a finding without a source line is reported.
    audit: True if exemptions were ignored.
    invented: provider functions that returned fake values.
    unknown: configuration keys whose values are encrypted or in Pulumi ESC.
    unevaluated: what no rule evaluates, such as the command of a resource and the inputs of a type
        that concern security, one sentence for each.
    accepted: what the configuration file accepts of it, with the reason.
    not_configured: the key of the configuration file that each control needs which evaluates
        nothing without it.
    configuration: name of the configuration file, "" for the defaults.
    project, stack: names of the Pulumi project and stack.
    gate: the options that select controls and findings.
    baseline: file or revision of the baseline, "" without one.
    absent: number of entries of the baseline that no finding matches.
    pack_seconds: time in which each pack evaluated all passes, keyed by the name of the pack.
    level_changes: levels that the configuration file sets.
    other_rules: number of enabled rules of other packs.
    stopped: the error with which the program stopped, so that a part of it was not evaluated.
    """

    environment: str
    resources: int
    seconds: float = 0.0
    root: str = ""
    file: str = "Pulumi.yaml"
    audit: bool = False
    invented: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unevaluated: Sequence[str] = ()
    accepted: Sequence[str] = ()
    not_configured: Mapping[str, str] = field(default_factory=dict)
    configuration: str = ""
    project: str = ""
    stack: str = ""
    gate: Gate = field(default_factory=Gate)
    baseline: str = ""
    absent: int = 0
    pack_seconds: Mapping[str, float] = field(default_factory=dict)
    level_changes: Sequence[LevelChange] = ()
    other_rules: int = 0
    stopped: str = ""

    @property
    def notes(self) -> list[str]:
        """What every report says besides the findings."""
        not_evaluated = (f"not evaluated: {text}" for text in self.unevaluated)
        accepted = (f"not evaluated, which is accepted {text}" for text in self.accepted)
        return [*map(str, self.level_changes), *not_evaluated, *accepted]

    def level(self, control: Control) -> Level:
        """The level of a control in this check."""
        if not self.gate.selects(control.id) or control.id in self.not_configured:
            return Level.DISABLED
        changed = {change.rule: change.level for change in self.level_changes}
        environment = self.environment if self.environment in ENVIRONMENTS else "prod"
        return Level(changed.get(control.id, control.level(environment)))

    def why_disabled(self, id: str) -> str:
        """The text for a control that is disabled, "" for another."""
        if not self.gate.selects(id):
            return f"{id} is not selected by --only, --skip and --framework"
        if key := self.not_configured.get(id):
            return f"{id} needs {key} in the configuration file"
        change = next((each for each in self.level_changes if each.rule == id), None)
        if change is not None:
            return str(change) if change.level == Level.DISABLED else ""
        control = catalogue.find(id)
        if control is None or self.level(control) != Level.DISABLED:
            return ""
        return f"{id} is disabled in {self.environment} by default"


def from_diagnostic(
    *,
    pack: str,
    policy: str,
    message: str,
    level: str,
    urn: str,
    passes: Iterable[str] = (),
    source: str = "",
    title: str = "",
    severity: str = "",
) -> list[Finding]:
    """Converts a diagnostic from a pack. A diagnostic about an unknown property becomes one finding
    for each rule that needs the property.

    pack: name or folder of the pack.
    policy, message, urn: fields of the diagnostic.
    level: "advisory" or "mandatory".
    title: title of a policy that is not in the catalogue.
    severity: severity of the diagnostic, "" for that of the policy.
    """
    message, urn, source = (_UNPRINTABLE.sub("\ufffd", text) for text in (message, urn, source))
    reporter = catalogue.find(policy)
    defect, _, fix = message.partition(". Fix: ")
    outcome: Outcome = "violation"
    rules = [policy]
    if policy in (UNDECIDED.id, UNDECIDED_ALLOWED.id) and (
        match := _UNDECIDED_MESSAGE.match(defect)
    ):
        outcome, rules, urn = "undecided", match["rules"].split(", "), match["urn"]
        defect = f"could not be decided: {match['path']} is unknown{match['reason'] or ''}"
    elif policy == BROKEN.id and (match := _BROKEN_MESSAGE.match(defect)):
        outcome, rules = "broken", [match["rule"]]
    elif policy == EXEMPTION_USED.id:
        match = _EXEMPTED_MESSAGE.match(defect)
        outcome, rules = ("exempted", [match["rule"]]) if match else ("unused", rules)
    return [
        Finding(
            rule=rule,
            title=subject.title if subject else title or rule,
            pack=catalogue.PACKS.get(pack, pack),
            level="" if outcome == "undecided" else level,
            urn=urn,
            resource_type=type_of(urn),
            message=defect,
            remedy=fix or (reporter.remedy if reporter else ""),
            severity=_severity(outcome, severity, subject),
            outcome=outcome,
            passes=tuple(passes),
            source=source,
        )
        for rule, subject in ((rule, catalogue.find(rule)) for rule in rules)
    ]


def _severity(outcome: Outcome, severity: str, subject: Control | None) -> str:
    """The severity of a violation is that of its diagnostic, because it can differ from that of its
    policy. Meta policies report about rules, which have severities of their own.
    """
    if outcome == "undecided":
        return ""
    if outcome == "violation" and severity:
        return severity
    return subject.severity if subject else severity or "medium"


def still_undecided(finding: Finding, levels: Mapping[str, str]) -> Finding:
    """The finding of a run with known outputs, in which no unknown property is accepted.

    A property that is unknown in this run comes from another stack, another provider or an
    encrypted value, so no other run decides the rule.

    levels: the level of each rule of the pack.
    """
    if finding.outcome != "undecided":
        return finding
    control = catalogue.find(finding.rule)
    match = _PROPERTY.match(finding.message)
    if (
        isinstance(control, Rule)
        and control.decided_by_name
        and match
        and re.match(control.decided_by_name, match["path"])
    ):
        return replace(
            finding,
            outcome="violation",
            level=levels.get(finding.rule, Level.MANDATORY),
            severity=control.severity,
            message=f"{match['path']} is unknown, and its name indicates a secret",
            remedy=control.remedy,
        )
    message, accepted, _ = finding.message.partition(_ACCEPTED)
    return replace(finding, message=message, remedy=UNDECIDED.remedy) if accepted else finding


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Merges equal findings, sorted by severity. An undecided result is dropped if the same rule
    reports a violation of the same resource.
    """
    merged: dict[tuple[str, str, str, str, str], Finding] = {}
    for finding in findings:
        key = (
            finding.pack,
            finding.rule,
            finding.urn,
            finding.outcome,
            finding.message.partition(_ACCEPTED)[0],
        )
        first = merged.get(key, finding)
        if _ACCEPTED in first.message and _ACCEPTED not in finding.message:
            first = finding
        merged[key] = replace(first, source=first.source or finding.source)
    violated = {
        (finding.rule, finding.urn) for finding in merged.values() if finding.outcome == "violation"
    }
    remaining = (
        finding
        for finding in merged.values()
        if finding.outcome != "undecided" or (finding.rule, finding.urn) not in violated
    )
    return sorted(remaining, key=rank)


def exit_code(findings: Sequence[Finding], run: Run) -> int:
    """1 if a mandatory rule is violated, 3 if the program stopped, or if a result is undecided or
    something is not evaluated and the run fails then, otherwise 0.
    """
    if any(finding.blocks for finding in findings):
        return 1
    if run.stopped:
        return 3
    if run.gate.fail_on_unevaluated and run.unevaluated:
        return 3
    return 3 if run.gate.fail_on_undecided and undecided(findings) else 0


def undecided(findings: Iterable[Finding]) -> int:
    """The number of results that are undecided and not in the baseline: pairs of a rule and a
    resource.
    """
    return len(
        {
            (item.rule, item.urn)
            for item in findings
            if item.outcome == "undecided" and not item.is_known
        }
    )


def by_resource(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Groups findings by URN. Groups and findings are sorted by severity."""
    groups: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=rank):
        groups.setdefault(finding.urn, []).append(finding)
    return groups


def grouped(findings: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """The findings of a resource with their rules. Rules that are undecided for the same reason, or
    that cannot read the same value, share an entry.
    """
    entries: dict[tuple[str, ...], tuple[Finding, list[str]]] = {}
    for finding in findings:
        level, rule = finding.level, finding.rule
        if finding.outcome == "undecided" or finding.remedy in (MALFORMED, UNGRAMMATICAL):
            level, rule = "", ""
        key = (finding.outcome, level, finding.message, rule)
        entries.setdefault(key, (finding, []))[1].append(finding.rule)
    return list(entries.values())


def resource_name(urn: str) -> str:
    return urn.rpartition("::")[2] or "stack"


def summary(findings: Sequence[Finding], run: Run) -> str:
    """One line with the number of rules, resources and findings, and what the rules did not
    evaluate.
    """
    rules = [rule for rule in catalogue.RULES if run.level(rule) is not Level.DISABLED]
    disabled = len(catalogue.RULES) - len(rules)
    not_evaluated = f" ({disabled} disabled)" if disabled else ""
    duration = f" in {run.seconds:.1f} s" if run.seconds else ""
    audit = ", exemptions ignored" if run.audit else ""
    audit += "".join(f", {text}" for text in (run.configuration, str(run.gate)) if text)
    invented = (
        f"; fake results of provider functions: {', '.join(run.invented)}" if run.invented else ""
    )
    unknown = f"; unknown configuration: {', '.join(run.unknown)}" if run.unknown else ""
    number = len(rules) + run.other_rules
    scope = f"{number} rules{not_evaluated} on {run.resources} resources{audit}{duration}"
    counts = _counts(findings, run)
    return f"{run.environment}: {scope}: {counts}{invented}{unknown}"


def count(number: int, noun: str) -> str:
    """A number followed by a noun: "1 violation", "2 violations", "no violations"."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _counts(findings: Sequence[Finding], run: Run) -> str:
    new = [finding for finding in findings if not finding.is_known]
    others = [finding for finding in new if not finding.blocks]
    numbers = {
        "advisory": sum(finding.outcome in ("violation", "broken") for finding in others),
        "undecided": undecided(findings),
        "exempted": sum(finding.outcome == "exempted" for finding in others),
    }
    violations = count(len(new) - len(others), "violation")
    if run.baseline:
        numbers[f"in the baseline {run.baseline}"] = len(findings) - len(new)
        numbers["of them with unknown values, not compared"] = sum(
            not finding.is_compared for finding in findings
        )
        numbers["of the baseline no longer found"] = run.absent
    return ", ".join(
        [violations, *(f"{number} {name}" for name, number in numbers.items() if number)]
    )


def rank(finding: Finding) -> tuple[bool, int, int, str, str]:
    severity = _SEVERITY_RANK.get(finding.severity, len(_SEVERITY_RANK))
    return (not finding.blocks, _OUTCOME_RANK[finding.outcome], severity, finding.urn, finding.rule)


def type_of(urn: str) -> str:
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) >= 4 else ""
