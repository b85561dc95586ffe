"""IAM patterns as sets of texts: whether there is a text that some patterns match and others do
not. All questions about who passes a pattern are answered by `example`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gatehouse_policies.analysis.iam.grammar import Condition, DocumentError

# Tokens of a pattern: "=a" is the character a, "~a" is a in any case, and "?" and "*" are any
# character and any text, which contain no colon in a part of an ARN.
_ONE, _MANY, _ONE_IN_PART, _MANY_IN_PART = "?", "*", "?:", "*:"
_STARS = (_MANY, _MANY_IN_PART)
_TOKEN = re.compile(r"\$\{([^}]*)\}|\[([*?])\]|([*?])|(.)", re.DOTALL)
# Characters that patterns do not contain, for the text of `example`.
_OTHERS = "x0" + "".join(map(chr, range(0x100, 0x180)))
STEPS_MAX = 400_000
"""Places in patterns that one search reads, about one second."""

Pattern = tuple[str, ...]
"""The tokens of a compiled pattern."""


@dataclass(frozen=True)
class Clause:
    """The texts that one of the patterns matches; if `expected` is false, those that none does."""

    patterns: tuple[Pattern, ...]
    expected: bool = True


@lru_cache(maxsize=8192)
def compiled(
    pattern: str, *, arn: bool = False, any_case: bool = False, literal: bool = False
) -> Pattern:
    """The tokens of a pattern. A policy variable is any text, except `${*}`, `${?}` and `${$}`.

    arn: the first five parts are compared separately, as by ArnLike.
    literal: `*` and `?` are characters, as in StringEquals.
    """
    tokens, colons = [], 0
    for variable, escaped, wildcard, char in _TOKEN.findall(pattern):
        name = variable.strip()
        in_part = ":" if arn and colons < 5 else ""
        if name and name not in ("*", "?", "$"):
            tokens.append(_MANY)
        elif wildcard and not literal:
            tokens.append(wildcard + in_part)
        else:
            text = char or escaped or wildcard or name
            colons += text == ":"
            tokens.append(f"~{text.lower()}" if any_case else f"={text}")
    return tuple(tokens)


def clause(patterns: Iterable[str], expected: bool = True) -> Clause:
    return Clause(tuple(map(compiled, patterns)), expected)


def clause_of(
    condition: Condition, expected: bool = True, values: Mapping[str, str] | None = None
) -> Clause | None:
    """The values of its key with which a condition holds, or does not if `expected` is false. None
    for an operator that does not compare texts.

    values: texts that replace policy variables, by name in lowercase.
    """
    operator = condition.operator.replace("not", "", 1)
    texts = [_replaced(value, values or {}) for value in condition.values]
    if operator in ("arnequals", "arnlike"):
        padded = (
            text + ":*" * (5 - text.count(":")) if text.endswith("*") else text for text in texts
        )
        patterns = [compiled(text, arn=True) for text in padded if text.count(":") >= 5]
    elif operator == "stringlike":
        patterns = list(map(compiled, texts))
    elif operator in ("stringequals", "stringequalsignorecase"):
        any_case = operator.endswith("ignorecase")
        patterns = [compiled(text, literal=True, any_case=any_case) for text in texts]
    else:
        return None
    return Clause(tuple(patterns), expected == (operator == condition.operator))


def _replaced(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return values.get(match[1].partition(",")[0].strip().lower(), match[0])

    return re.sub(r"\$\{([^}]*)\}", value, text)


def covers(patterns: Sequence[str], pattern: str) -> bool:
    """True if every text of the pattern matches one of the patterns."""
    return pattern in patterns or example((clause([pattern]), clause(patterns, False))) is None


_State = tuple[frozenset[tuple[int, int]], ...]
"""For each clause, the places in its patterns: the number of the pattern, and of the token."""


def example(clauses: Sequence[Clause]) -> str | None:
    """A shortest text of all clauses; None if there is none. Raises DocumentError if the search
    ends without a result after `STEPS_MAX` steps, so that the rule reports the document.
    """
    found = _search(tuple(clauses))
    if found is False:
        raise DocumentError(
            "could not be decided: the policy has patterns with too many wildcards to compare"
        )
    return found


@lru_cache(maxsize=2048)
def _search(clauses: tuple[Clause, ...]) -> str | Literal[False] | None:
    start = tuple(
        _closed(((number, 0) for number in range(len(each.patterns))), each) for each in clauses
    )
    texts: dict[_State, str] = {start: ""}
    pending = [start]
    steps = 0
    for state in pending:
        if not _is_possible(state, clauses):
            continue
        if all(_is_end(places, each) for places, each in zip(state, clauses, strict=True)):
            return texts[state]
        for char in _next_characters(state, clauses):
            steps += sum(map(len, state)) + 1
            if steps > STEPS_MAX:
                return False
            following = tuple(
                _closed(_step(places, each, char), each)
                for places, each in zip(state, clauses, strict=True)
            )
            if following not in texts:
                texts[following] = texts[state] + char
                pending.append(following)
    return None


def _is_end(places: frozenset[tuple[int, int]], of: Clause) -> bool:
    matched = any(place == len(of.patterns[number]) for number, place in places)
    return matched == of.expected


def _is_possible(state: _State, clauses: Sequence[Clause]) -> bool:
    """False if no continuation is a text of all clauses."""
    for places, each in zip(state, clauses, strict=True):
        if each.expected and not places:
            return False
        if not each.expected and any(
            each.patterns[number][place:] == (_MANY,) for number, place in places
        ):
            return False
    return True


def _closed(places: Iterable[tuple[int, int]], of: Clause) -> frozenset[tuple[int, int]]:
    """The places with those behind an empty `*`, without those that a later `*` includes."""
    closed = set[tuple[int, int]]()
    for number, start in places:
        tokens, place = of.patterns[number], start
        closed.add((number, place))
        while place < len(tokens) and tokens[place] in _STARS:
            place += 1
            closed.add((number, place))
    last = dict[int, int]()
    for number, place in closed:
        if of.patterns[number][place : place + 1] == (_MANY,):
            last[number] = max(place, last.get(number, 0))
    return frozenset(each for each in closed if each[1] >= last.get(each[0], 0))


def _step(places: frozenset[tuple[int, int]], of: Clause, char: str) -> Iterable[tuple[int, int]]:
    for number, place in places:
        tokens = of.patterns[number]
        if place < len(tokens) and _takes(tokens[place], char):
            yield number, place + (tokens[place] not in _STARS)


def _takes(token: str, char: str) -> bool:
    if token[0] == "=":
        return token[1] == char
    if token[0] == "~":
        return token[1] == char.lower()
    return not (token.endswith(":") and char == ":")


def _next_characters(state: _State, clauses: Sequence[Clause]) -> list[str]:
    """The characters that the patterns name at these places, and one that none of them names."""
    named = dict[str, None]()
    for places, each in zip(state, clauses, strict=True):
        for number, place in places:
            for token in each.patterns[number][place : place + 1]:
                if token[0] in "=~":
                    named[token[1]] = None
                elif token.endswith(":"):
                    named[":"] = None
    return [*named, next(char for char in _OTHERS if char not in named)]
