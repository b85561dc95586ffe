"""A strict JSON parser: rejects duplicate names, NaN, deep nesting and text that PostgreSQL cannot store."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from gatehouse.errors import BadRequest, Problem
from gatehouse.http.validation import NAME_CHARS_MAX

DEPTH_MAX = 16

#: A sign and 19 digits: 64 bits.
_INT_CHARS_MAX = 20

#: A string, or the rest of the text if it is not terminated. Possessive, so matching is linear (CWE-1333).
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)

#: NUL, which PostgreSQL cannot store, and unpaired surrogates, which are not characters.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse(raw: bytes) -> Any:
    """Raises BadRequest with the location of the problem and a fix."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        _reject("body", "is not UTF-8 text", "send JSON encoded as UTF-8")
    if text.startswith("\ufeff"):
        _reject("body", "begins with a byte order mark", "send UTF-8 without it (RFC 8259, section 8.1)")
    if _depth(text) > DEPTH_MAX:
        _reject("body", f"is nested more than {DEPTH_MAX} levels deep", "send a flatter document")
    try:
        value = json.loads(
            text, object_pairs_hook=_members, parse_constant=_no_constant, parse_int=_integer, parse_float=_fraction
        )
    except json.JSONDecodeError as exc:
        _reject(f"body at line {exc.lineno}, column {exc.colno}", "is not valid JSON", "send one JSON object")
    for location, text in _strings(value, "body"):
        if _UNSTORABLE.search(text):
            _reject(location, "contains a NUL character or an unpaired surrogate", "remove that character")
    return value


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in re.sub(r"[^][{}]", "", _STRING.sub("", text)):
        depth += 1 if character in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        _reject("body", f"has the name {json.dumps(duplicate[:NAME_CHARS_MAX])} twice", "send each name once per object")
    return members


def _no_constant(name: str) -> NoReturn:
    _reject("body", f"contains {name}, which is not JSON", "send a number")


def _integer(digits: str) -> int:
    if len(digits) > _INT_CHARS_MAX:
        _reject("body", "contains a number with too many digits", "send a number that fits in 64 bits")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _reject("body", "contains a number that is too large", "send a number that fits in 64 bits")
    return number


def _strings(value: Any, location: str) -> Iterator[tuple[str, str]]:
    """Every string in the value with its location, names included."""
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{location}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield location, name
            yield from _strings(item, f"{location}.{name}")


def _reject(location: str, message: str, fix: str) -> NoReturn:
    raise BadRequest("The request body is invalid. See `errors`.", errors=(Problem(location, message, fix),)) from None
