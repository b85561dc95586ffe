"""Evaluates one rule on one resource. The outcome is pass, violation, undecided or broken."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gatehouse_policies.analysis.iam.grammar import DocumentError
from gatehouse_policies.analysis.properties import MalformedError, Properties, UnknownPropertyError
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.rule import CheckResults, Rule, Undecided, Violation

EVALUATIONS_MAX = 24
"""Maximum number of evaluations of a rule on one resource with assumed values of unknown
properties.
"""
MALFORMED, UNGRAMMATICAL = "correct the type of this property", "follow the IAM policy grammar"
"""The fixes for a property or a document that no rule can read, which each rule reports."""


@dataclass(frozen=True)
class Decision:
    """Result of one rule on one resource. The resource passes if all fields are empty.

    undecided: paths of unknown properties that the rule needs.
    allowed: paths of unknown properties that the rule accepts at preview, each with the reason.
    broken: type of the exception that the check raised.
    """

    violations: tuple[Violation, ...] = ()
    undecided: tuple[str, ...] = ()
    allowed: tuple[tuple[str, str], ...] = ()
    broken: str = ""


def evaluate(rule: Rule, resource: Resource, stack: Stack) -> Decision:
    """Evaluates a rule on a resource. Never raises.

    A malformed property or policy document is a violation of the rule that reads it. Any other
    exception is a defect in the rule; only its type is recorded, because its text may contain a
    property's value.
    """
    violations: dict[Violation, None] = {}
    undecided: dict[str, None] = {}
    errors: list[UnknownPropertyError] = []
    try:
        for result in rule.check(resource, stack):
            _record(result, rule, violations, undecided, errors)
    except UnknownPropertyError as error:
        _record(Undecided(error.path, error), rule, violations, undecided, errors)
    except MalformedError as error:
        violations[Violation(str(error), MALFORMED)] = None
    except DocumentError as error:
        violations[Violation(str(error), UNGRAMMATICAL)] = None
    except Exception as error:
        return Decision(tuple(violations), tuple(undecided), broken=type(error).__name__)
    violations |= dict.fromkeys(
        _certain_violations(rule, resource, stack, errors, iter(range(EVALUATIONS_MAX)))
    )
    reasons = {path: _reason(path, rule) for path in undecided}
    return Decision(
        violations=tuple(violations),
        undecided=tuple(path for path, reason in reasons.items() if not reason),
        allowed=tuple((path, reason) for path, reason in reasons.items() if reason),
    )


def _record(
    result: str | Violation | Undecided,
    rule: Rule,
    violations: dict[Violation, None],
    undecided: dict[str, None],
    errors: list[UnknownPropertyError],
) -> None:
    if isinstance(result, Undecided):
        undecided[result.path] = None
        errors += [result.error] if result.error is not None else []
    else:
        violations[Violation(result, rule.remedy) if isinstance(result, str) else result] = None


def _certain_violations(
    rule: Rule,
    resource: Resource,
    stack: Stack,
    errors: Sequence[UnknownPropertyError],
    budget: Iterator[int],
) -> list[Violation]:
    """The violations that a rule reports for every assumed value of the unknown properties, for
    example a public port that is listed after an unknown one.

    Both values of a flag are assumed, so its violations are certain. Assumed elements of a list are
    examples: a violation that names the list is ignored, because another element can be compliant.

    budget: the remaining evaluations with assumed values.
    """
    error = next((error for error in errors if error.candidates), None)
    if error is None:
        return []
    certain: list[Violation] | None = None
    for candidate in error.candidates:
        if next(budget, None) is None:
            return []
        with error.assume(candidate):
            violations = _assumed_violations(rule, resource, stack, budget)
        if not isinstance(candidate, bool):
            violations = [
                violation for violation in violations if error.name not in violation.message
            ]
        certain = (
            violations
            if certain is None
            else [violation for violation in certain if violation in violations]
        )
        if not certain:
            return []
    return certain or []


def _assumed_violations(
    rule: Rule, resource: Resource, stack: Stack, budget: Iterator[int]
) -> list[Violation]:
    violations: dict[Violation, None] = {}
    errors: list[UnknownPropertyError] = []
    try:
        for result in rule.check(resource, stack):
            _record(result, rule, violations, {}, errors)
    except UnknownPropertyError as error:
        errors.append(error)
    except Exception:
        # The assumed value is malformed for this rule, which says nothing about the actual value.
        return []
    return [*violations, *_certain_violations(rule, resource, stack, errors, budget)]


def _reason(path: str, rule: Rule) -> str:
    """The reason for which the rule accepts that this property is unknown; "" if it does not."""
    parents = (
        reason
        for name, reason in rule.unknown_allowed.items()
        if path == name or path.startswith(f"{name}.")
    )
    return next(parents, "")


def check_each(
    blocks: Iterable[Properties], check: Callable[[Properties], CheckResults]
) -> CheckResults:
    """Runs a check on each block, so that an unknown value in one block does not hide a violation
    in another.
    """
    for block in blocks:
        try:
            yield from check(block)
        except UnknownPropertyError as error:
            yield Undecided(error.path, error)


def violation_text(violation: Violation, rule: Rule) -> str:
    return f"{violation.message}. Fix: {violation.remedy or rule.remedy}"
