"""Evaluates one rule on one resource. The outcome is pass, violation, undecided or broken."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pulumi_policy.proxy import UnknownValueError

from policies.analysis.iam.grammar import DocumentError
from policies.analysis.properties import MalformedError, Properties
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import CheckResults, Rule, Undecided, Violation


@dataclass(frozen=True, slots=True)
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

    A malformed property or policy document is a violation of the rule that reads it. Any other exception is a defect in the
    rule; only its type is recorded, because its text may contain a property's value.
    """
    violations: list[Violation] = []
    undecided: dict[str, None] = {}
    try:
        for result in rule.check(resource, stack):
            if isinstance(result, Undecided):
                undecided[result.path] = None
            else:
                violations.append(Violation(result, rule.remedy) if isinstance(result, str) else result)
    except UnknownValueError as error:
        undecided[_path(error)] = None
    except MalformedError as error:
        violations.append(Violation(str(error), "correct the type of this property"))
    except DocumentError as error:
        violations.append(Violation(str(error), "follow the IAM policy grammar"))
    except Exception as error:
        return Decision(tuple(violations), tuple(undecided), broken=type(error).__name__)
    reasons = {path: _reason(path, rule) for path in undecided}
    return Decision(
        violations=tuple(violations),
        undecided=tuple(path for path, reason in reasons.items() if not reason),
        allowed=tuple((path, reason) for path, reason in reasons.items() if reason),
    )


def _reason(path: str, rule: Rule) -> str:
    """The reason for which the rule accepts that this property is unknown; "" if it does not."""
    parents = (reason for name, reason in rule.unknown_allowed.items() if path == name or path.startswith(f"{name}."))
    return next(parents, "")


def check_each(blocks: Iterable[Properties], check: Callable[[Properties], CheckResults]) -> CheckResults:
    """Runs a check on each block, so that an unknown value in one block does not hide a violation in another."""
    for block in blocks:
        try:
            yield from check(block)
        except UnknownValueError as error:
            yield Undecided(_path(error))


def violation_text(violation: Violation, rule: Rule) -> str:
    """The message and remedy as a pack reports them."""
    return f"{violation.message}. Fix: {violation.remedy or rule.remedy}"


def _path(error: UnknownValueError) -> str:
    return ".".join(error.props)
