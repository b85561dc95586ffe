"""What a rule is, and the guard that turns its check into pass, violation, undecided or broken; knows nothing of
packs or engines.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pulumi_policy.proxy import UnknownValueError

from policies.analysis.iam.grammar import DocumentError
from policies.analysis.properties import MalformedError, Props
from policies.analysis.resources import Resource, Stack

ENVIRONMENTS = ("dev", "staging", "prod")


class Level(StrEnum):
    """What a violation does: is shown, stops the deployment, or is not looked for."""

    ADVISORY = "advisory"
    MANDATORY = "mandatory"
    DISABLED = "disabled"


class Severity(StrEnum):
    """How bad it is when the control is missing; orders reports, decides nothing."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


Levels = Mapping[str, Level]


def levels(dev: str, staging: str, prod: str) -> Levels:
    """Levels from the catalogue's letters: M mandatory, A advisory, - disabled."""
    letter = {"M": Level.MANDATORY, "A": Level.ADVISORY, "-": Level.DISABLED}
    return {"dev": letter[dev], "staging": letter[staging], "prod": letter[prod]}


ALWAYS = levels("M", "M", "M")
AFTER_DEV = levels("A", "M", "M")


@dataclass(frozen=True, slots=True)
class Upstream:
    """The same control in other catalogues, so that a report can be read beside theirs."""

    security_hub: tuple[str, ...] = ()
    cis: tuple[str, ...] = ()  # CIS AWS Foundations Benchmark 7.0
    checkov: tuple[str, ...] = ()
    prowler: tuple[str, ...] = ()
    cdk_nag: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one resource, and what to type instead when the rule's own remedy does not fit."""

    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Undecided:
    """A part of a resource that could not be judged, because this property is not known yet."""

    path: str


# A check yields one text (or Violation) for each thing that is wrong; nothing means that the resource passes.
Found = Iterator[str | Violation | Undecided]
ResourceCheck = Callable[[Resource], Found]
StackCheck = Callable[[Resource, Stack], Found]


@dataclass(frozen=True, slots=True)
class Rule:
    """One control: everything that a pack, a report or a page says about it, and its check.

    `types` are the type tokens of the resources that are judged, one at a time; empty means every resource. A rule with
    scope "stack" sees the others too.
    `settings` are its parameters per environment ({"days_min": {"dev": 7, "staging": 7, "prod": 35}}); `lists` are
    parameters that are lists of words, the same in every environment. A pack's configuration overrides both.
    `unknown_allowed` names properties that may stay unknown at a preview, each with the reason.
    """

    id: str
    title: str
    why: str
    remedy: str
    severity: Severity
    types: tuple[str, ...]
    levels: Levels
    url: str
    scope: Literal["resource", "stack"]
    check: StackCheck
    upstream: Upstream = field(default_factory=Upstream)
    pack: Literal["security", "resilience"] = "security"
    exemptible: bool = True
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unknown_allowed: Mapping[str, str] = field(default_factory=dict)

    def defaults(self, environment: str) -> dict[str, float]:
        """The rule's parameters in an environment."""
        return {name: values[environment] for name, values in self.settings.items()}


def resource_rule(id: str, **facts: object) -> Callable[[ResourceCheck], Rule]:
    """Declares a rule that needs only the resource itself. The facts are the fields of Rule."""

    def declare(check: ResourceCheck) -> Rule:
        return Rule(id=id, scope="resource", check=lambda resource, _: check(resource), **facts)  # type: ignore[arg-type]

    return declare


def stack_rule(id: str, **facts: object) -> Callable[[StackCheck], Rule]:
    """Declares a rule that looks at one resource and at the others that belong to it. The facts are the fields of
    Rule.
    """

    def declare(check: StackCheck) -> Rule:
        return Rule(id=id, scope="stack", check=check, **facts)  # type: ignore[arg-type]

    return declare


def each(blocks: Iterable[Props], check: Callable[[Props], Found]) -> Found:
    """Runs a check over the parts of a resource, so that an unknown in one part hides no violation in another."""
    for block in blocks:
        try:
            yield from check(block)
        except UnknownValueError as unknown:
            yield Undecided(path_of(unknown))


@dataclass(frozen=True, slots=True)
class Decision:
    """What the guard learned of one rule on one resource; all empty means that the resource passes."""

    violations: tuple[Violation, ...] = ()
    undecided: tuple[str, ...] = ()
    allowed: tuple[tuple[str, str], ...] = ()  # unknown properties that may be so, each with the reason
    broken: str = ""


def decide(rule: Rule, resource: Resource, stack: Stack) -> Decision:
    """Runs one rule on one resource and never raises.

    A property that AWS could not accept is a violation of whatever rule meets it. Any other exception means that the
    rule itself is broken: only its type is kept, since its text may hold a property's value.
    """
    violations: list[Violation] = []
    undecided: dict[str, None] = {}
    try:
        for found in rule.check(resource, stack):
            if isinstance(found, Undecided):
                undecided[found.path] = None
            else:
                violations.append(Violation(found, rule.remedy) if isinstance(found, str) else found)
    except UnknownValueError as unknown:
        undecided[path_of(unknown)] = None
    except MalformedError as malformed:
        violations.append(Violation(str(malformed), "correct the type of this property"))
    except DocumentError as malformed:
        violations.append(Violation(str(malformed), "write the document as AWS IAM expects it"))
    except Exception as broken:
        return Decision(tuple(violations), tuple(undecided), broken=type(broken).__name__)
    return Decision(
        violations=tuple(violations),
        undecided=tuple(path for path in undecided if path not in rule.unknown_allowed),
        allowed=tuple((path, rule.unknown_allowed[path]) for path in undecided if path in rule.unknown_allowed),
    )


def path_of(unknown: UnknownValueError) -> str:
    """The property path that the SDK's exception carries."""
    return ".".join(unknown.props)


def violation_text(violation: Violation, rule: Rule) -> str:
    """The one form of a violation in every report: what is wrong, then what to type."""
    return f"{violation.what}. Fix: {violation.fix or rule.remedy}"
