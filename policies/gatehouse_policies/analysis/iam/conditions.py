"""Evaluates the Condition and Resource elements of an IAM statement for a request.

Source: IAM user guide, "IAM JSON policy elements: Condition", "Condition operators", "Single-valued
vs. multivalued context keys", "Variables and tags".
"""

import ipaddress
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from gatehouse_policies.analysis.iam.grammar import (
    Condition,
    DocumentError,
    Statement,
    escape,
    matches,
    unescape,
)

Context = Mapping[str, str | Sequence[str]]
"""Value or values of each condition key, such as {"aws:SecureTransport": "true"}. Keys that the
request does not contain are absent."""

_Match = Callable[[str, str], bool]
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = {"*": "[*]", "?": "[?]", "$": "$"}
_QUANTIFIERS = ("", "foranyvalue", "forallvalues")


def holds(conditions: Iterable[Condition], context: Context, *, variables: bool) -> bool:
    """True if all conditions match.

    variables: whether to replace policy variables `${...}`. Only documents with version 2012-10-17
        have policy variables.

    Raises DocumentError for an operator that does not exist in IAM, or for a single-valued operator
    on a key with several values.
    """
    lower = {key.lower(): value for key, value in context.items()}
    return all(
        _matches(condition, _values(lower, condition.key), lower if variables else None)
        for condition in conditions
    )


def applies_to_resource(statement: Statement, resource: str, context: Context | None) -> bool:
    """True if the statement applies to the ARN. context: values of policy variables; None leaves
    them unchanged.
    """
    if statement.not_resources is not None:
        return not _any_matches(statement.not_resources, resource, context)
    # A trust policy has no Resource element. The policy applies to its role.
    return statement.resources is None or _any_matches(statement.resources, resource, context)


def _any_matches(patterns: Iterable[str], resource: str, context: Context | None) -> bool:
    return any(
        matches(resource, text)
        for pattern in patterns
        if (text := substitute(pattern, context)) is not None
    )


def substitute(text: str, context: Context | None) -> str | None:
    """Replaces the policy variables in a string with escaped values.

    Returns None if a variable has neither a value nor a default, in which case the text matches
    nothing.

    context: values of the condition keys, which are in lowercase. None leaves the text unchanged.
    """
    if context is None or "${" not in text:
        return text
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = (part.strip() for part in match[1].partition(","))
        if name in _LITERALS:
            return _LITERALS[name]
        current = context.get(name.lower())
        if isinstance(current, str):
            return escape(current)
        missing = missing or not default
        return escape(default.strip("'"))

    result = _VARIABLE.sub(value, text)
    return None if missing else result


def _values(context: Context, key: str) -> list[str]:
    value = context.get(key, ())
    return [value] if isinstance(value, str) else list(value)


def _matches(condition: Condition, values: list[str], context: Context | None) -> bool:
    if condition.operator == "null":
        return any((not values) == (expected.lower() == "true") for expected in condition.values)
    if condition.operator not in _OPERATORS or condition.quantifier not in _QUANTIFIERS:
        raise DocumentError(f"there is no condition operator {condition.operator!r}")
    if condition.if_exists and condition.quantifier == "foranyvalue":
        # AWS evaluates each value separately, so IfExists has no effect and is probably a mistake.
        raise DocumentError(f"{condition.operator}: IfExists has no effect with ForAnyValue")
    match, negated = _OPERATORS[condition.operator]
    expected = [
        text for pattern in condition.values if (text := substitute(pattern, context)) is not None
    ]

    def matches_value(value: str) -> bool:
        # Several expected values are alternatives. A negated operator matches if none of the values
        # matches.
        return any(match(pattern, value) for pattern in expected) != negated

    if condition.quantifier == "forallvalues":
        return all(matches_value(value) for value in values)
    if condition.quantifier == "foranyvalue":
        return any(matches_value(value) for value in values)
    if not values:
        return negated or condition.if_exists
    if len(values) > 1:
        raise DocumentError(
            f"{condition.operator} requires ForAnyValue or ForAllValues for a key with "
            f"{len(values)} values"
        )
    return matches_value(values[0])


def _arn_matches(pattern: str, arn: str) -> bool:
    """Compares the six parts separately, so `*` does not match a colon. The sixth part may contain
    colons.
    """
    expected, actual = pattern.split(":", 5), arn.split(":", 5)
    return len(expected) == len(actual) == 6 and all(
        matches(b, a) for a, b in zip(expected, actual, strict=True)
    )


def _compares(convert: Callable[[str], float], compare: Callable[[float, float], bool]) -> _Match:
    def match(expected: str, actual: str) -> bool:
        try:
            return compare(convert(actual), convert(expected))
        except ValueError:
            return False

    return match


def _seconds(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _address_matches(network: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


# Match function (expected, actual) of each operator, keyed by the names of the operator and its
# negation.
_NEGATABLE: dict[tuple[str, str], _Match] = {
    ("stringequals", "stringnotequals"): lambda expected, actual: unescape(expected) == actual,
    ("stringequalsignorecase", "stringnotequalsignorecase"): lambda expected, actual: (
        unescape(expected).lower() == actual.lower()
    ),
    ("stringlike", "stringnotlike"): lambda pattern, actual: matches(actual, pattern),
    # ArnEquals and ArnLike are equivalent.
    ("arnequals", "arnnotequals"): _arn_matches,
    ("arnlike", "arnnotlike"): _arn_matches,
    ("numericequals", "numericnotequals"): _compares(float, operator.eq),
    ("dateequals", "datenotequals"): _compares(_seconds, operator.eq),
    ("ipaddress", "notipaddress"): _address_matches,
}
_COMPARISONS = {
    **{"lessthan": operator.lt, "lessthanequals": operator.le},
    **{"greaterthan": operator.gt, "greaterthanequals": operator.ge},
}
_OPERATORS: dict[str, tuple[_Match, bool]] = {
    "bool": (lambda expected, actual: expected.lower() == actual.lower(), False),
    "binaryequals": (operator.eq, False),
    **{
        name: (match, name == negation)
        for (affirmation, negation), match in _NEGATABLE.items()
        for name in (affirmation, negation)
    },
    **{
        f"{kind}{name}": (_compares(convert, compare), False)
        for kind, convert in (("numeric", float), ("date", _seconds))
        for name, compare in _COMPARISONS.items()
    },
}
"""The match function of each operator, and whether the operator negates the result of this
function.
"""
