"""Compares two policy documents: whether one allows at most what the other allows."""

from collections.abc import Iterable

from gatehouse_policies.analysis.iam.grammar import Condition, Document, Principals, Statement
from gatehouse_policies.analysis.iam.patterns import covers

_POSITIVE = ("stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike")


def allows_at_most(document: Document, other: Document) -> bool:
    """True if each Allow statement is within one of the other document, and each Deny statement of
    the other document is within one of this document.
    """
    return all(
        any(is_within(allow, accepted) for accepted in other.allows) for allow in document.allows
    ) and all(any(is_within(deny, kept) for kept in document.denies) for deny in other.denies)


def is_within(statement: Statement, other: Statement) -> bool:
    """True if the other statement applies to every request to which the statement applies."""
    return (
        _is_subset(_lower(statement.actions), _lower(other.actions))
        and _is_subset(_lower(other.not_actions), _lower(statement.not_actions))
        and _is_subset(statement.resources, other.resources)
        and _is_subset(other.not_resources, statement.not_resources)
        and _principals(statement.principals, other.principals)
        and _principals(other.not_principals, statement.not_principals)
        and all(
            any(_is_stricter(condition, kept) for condition in statement.conditions)
            for kept in other.conditions
        )
    )


def _is_subset(patterns: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    if patterns is None or others is None:
        return patterns is others
    return all(covers(others, pattern) for pattern in patterns)


def _lower(patterns: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if patterns is None else tuple(pattern.lower() for pattern in patterns)


def _principals(principals: Principals | None, others: Principals | None) -> bool:
    if principals is None or others is None:
        return principals is others
    return ("*", "*") in others or {*principals} <= {*others}


def _is_stricter(condition: Condition, other: Condition) -> bool:
    same = ("operator", "key", "if_exists", "quantifier")
    if any(getattr(condition, name) != getattr(other, name) for name in same):
        return False
    if {*condition.values} == {*other.values}:
        return True
    return condition.operator in _POSITIVE and {*condition.values} < {*other.values}
