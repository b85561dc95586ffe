"""Evaluates the Condition element of an IAM statement against what is known of a request; touches nothing else.

Source: IAM user guide, "IAM JSON policy elements: Condition", "Condition operators", "Single-valued vs. multivalued context
keys", "Variables and tags".
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Value = str | Sequence[str]
Context = Mapping[str, Value]
"""Condition key to its value, or its values where the key has many: {"aws:SecureTransport": "true"}. An absent key is one
that the service did not send."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERAL = {"*": "[*]", "?": "[?]", "$": "$"}
_SETS = ("ForAnyValue:", "ForAllValues:")


class UnreadableDocument(ValueError):
    """A part of a document that is not understood here. Guessing would make the answer worthless."""


def holds(condition: Mapping[str, Mapping[str, Any]], context: Context, *, variables: bool) -> bool:
    """True when every key of every operator matches. Raises UnreadableDocument for an operator that IAM does not have.

    variables: whether `${...}` is replaced, which only documents of version 2012-10-17 ask for.
    """
    folded = {key.lower(): value for key, value in context.items()}
    return all(
        _one(operator, _values(folded, key), [str(item) for item in listed(wanted)], folded if variables else None)
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def listed(value: Any) -> list[Any]:
    """JSON allows one value in place of a list of one; booleans are written like JSON writes them."""
    return [_plain(item) for item in (value if isinstance(value, list | tuple) else [value])]


def glob(pattern: str, text: str) -> bool:
    """`*` is any text and `?` any one character; `[*]` and `[?]` are the characters themselves; case counts."""
    parts = re.split(r"(\[\*\]|\[\?\]|\*|\?)", pattern)
    meanings = {"*": ".*", "?": ".", "[*]": r"\*", "[?]": r"\?"}
    return re.fullmatch("".join(meanings.get(part, re.escape(part)) for part in parts), text, flags=re.DOTALL) is not None


def filled(text: str, context: Context | None) -> str | None:
    """`text` with its policy variables replaced; None when one of them has neither a value nor a default: then nothing
    matches. Values are literal: a `*` in one is no wildcard. context: keys in lower case; None leaves the text alone."""
    if context is None:
        return text
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = (part.strip() for part in match[1].partition(","))
        if name in _LITERAL:
            return _LITERAL[name]
        found = context.get(name.lower())
        if isinstance(found, str):
            return re.sub(r"([*?])", r"[\1]", found)
        missing = missing or not default
        return re.sub(r"([*?])", r"[\1]", default.strip("'"))

    result = _VARIABLE.sub(value, text)
    return None if missing else result


def _plain(item: Any) -> str:
    return str(item).lower() if isinstance(item, bool) else item if isinstance(item, str) else str(item)


def _values(context: Context, key: str) -> list[str] | None:
    """None: the key is absent."""
    found = context.get(key.lower())
    return None if found is None else [found] if isinstance(found, str) else list(found)


def _one(operator: str, have: list[str] | None, wanted: list[str], context: Context | None) -> bool:
    kind = next((prefix for prefix in _SETS if operator.startswith(prefix)), "")
    name = operator.removeprefix(kind)
    if_exists = name.endswith("IfExists") and name != "Null"
    name = name.removesuffix("IfExists")
    if name == "Null":
        return any((not have) == (item.lower() == "true") for item in wanted)
    if name not in _OPERATORS:
        raise UnreadableDocument(f"there is no condition operator {operator!r}")
    if if_exists and kind == "ForAnyValue:":
        # AWS asks each value for itself, so that IfExists changes nothing there; who writes it means something else.
        raise UnreadableDocument(f"{operator}: IfExists has no effect under ForAnyValue")
    match, negated = _OPERATORS[name]
    known = [text for item in wanted if (text := filled(item, context)) is not None]

    def fits(value: str) -> bool:
        # Several values are alternatives; under a negated operator none of them may match.
        return any(match(item, value) for item in known) != negated

    if kind == "ForAllValues:":
        return all(fits(value) for value in have or [])
    if kind == "ForAnyValue:":
        return any(fits(value) for value in have or [])
    if not have:
        return negated or if_exists
    if len(have) > 1:
        raise UnreadableDocument(
            f"{operator} was asked about a key with {len(have)} values; it needs ForAnyValue or ForAllValues"
        )
    return fits(have[0])


def _literal(wanted: str) -> str:
    return wanted.replace("[*]", "*").replace("[?]", "?")


def _arn(wanted: str, have: str) -> bool:
    """Each of the six parts by itself, so that a `*` never reaches over a colon; the sixth part may hold colons."""
    ours, theirs = wanted.split(":", 5), have.split(":", 5)
    return len(ours) == len(theirs) == 6 and all(glob(a, b) for a, b in zip(ours, theirs, strict=True))


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def match(wanted: str, have: str) -> bool:
        try:
            return compare(float(have), float(wanted))
        except ValueError:
            return False

    return match


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def seconds(text: str) -> float:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def match(wanted: str, have: str) -> bool:
        try:
            return compare(seconds(have), seconds(wanted))
        except ValueError:
            return False

    return match


def _address(wanted: str, have: str) -> bool:
    try:
        return ipaddress.ip_address(have) in ipaddress.ip_network(wanted, strict=False)
    except (ValueError, TypeError):
        return False


def _operators() -> Iterable[tuple[str, Callable[[str, str], bool], bool]]:
    """Name, whether one wanted value matches the request's, and whether the operator is the negation of that."""
    for name, negation, match in (
        ("StringEquals", "StringNotEquals", lambda wanted, have: _literal(wanted) == have),
        ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", lambda w, h: _literal(w).lower() == h.lower()),
        ("StringLike", "StringNotLike", glob),
        # AWS gives ArnEquals and ArnLike the same meaning.
        ("ArnEquals", "ArnNotEquals", _arn),
        ("ArnLike", "ArnNotLike", _arn),
        ("NumericEquals", "NumericNotEquals", _number(lambda have, wanted: have == wanted)),
        ("DateEquals", "DateNotEquals", _date(lambda have, wanted: have == wanted)),
        ("IpAddress", "NotIpAddress", _address),
    ):
        yield name, match, False
        yield negation, match, True
    yield "Bool", lambda wanted, have: wanted.lower() == have.lower(), False
    yield "BinaryEquals", lambda wanted, have: wanted == have, False
    for kind, build in (("Numeric", _number), ("Date", _date)):
        yield f"{kind}LessThan", build(lambda have, wanted: have < wanted), False
        yield f"{kind}LessThanEquals", build(lambda have, wanted: have <= wanted), False
        yield f"{kind}GreaterThan", build(lambda have, wanted: have > wanted), False
        yield f"{kind}GreaterThanEquals", build(lambda have, wanted: have >= wanted), False


_OPERATORS = {name: (match, negated) for name, match, negated in _operators()}
