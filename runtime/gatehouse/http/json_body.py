"""Reading a JSON body so that it has one meaning: no duplicate names, no NaN, no depth, no text that cannot be stored."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from starlette.requests import Request

from gatehouse.errors import BadRequest, BodyTooLarge, Problem

DEPTH_MAX = 16


#: A sign and 19 digits: 64 bits.
_INT_CHARS_MAX = 20


#: A string, or the rest of the text when it does not end: possessive, so that no text is looked at twice (CWE-1333).
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


#: NUL, which PostgreSQL cannot store, and halves of surrogate pairs, which are no characters.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class StrictRequest(Request):
    """A request whose body is bounded and whose JSON is strict. Set `body_max_bytes` in the scope's state."""

    async def body(self) -> bytes:
        """The body, once read. Raises BodyTooLarge without reading on."""
        if not hasattr(self, "_body"):
            limit: int = self.app.state.parts.body_max_bytes
            declared = self.headers.get("content-length", "")
            if declared.isdecimal() and int(declared[:20]) > limit:
                _too_large(limit)
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > limit:
                    _too_large(limit)
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json


def parse(raw: bytes) -> Any:
    """The JSON value, or BadRequest that says where and what to change."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("body", "is not UTF-8 text", "send JSON encoded as UTF-8")
    if text.startswith("\ufeff"):
        _refuse("body", "begins with a byte order mark", "send UTF-8 without one (RFC 8259, section 8.1)")
    if _depth(text) > DEPTH_MAX:
        _refuse("body", f"is nested deeper than {DEPTH_MAX} levels", "send a flatter document")
    try:
        value = json.loads(
            text, object_pairs_hook=_members, parse_constant=_no_constant, parse_int=_integer, parse_float=_fraction
        )
    except json.JSONDecodeError as exc:
        _refuse(f"body at line {exc.lineno}, column {exc.colno}", "is not valid JSON", "send one JSON object")
    for location, found in _texts(value, "body"):
        if _UNSTORABLE.search(found):
            _refuse(location, "holds a NUL or half a surrogate pair", "remove that character")
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
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        _refuse("body", f"names {_shown(twice)} twice", "send every member once")
    return members


def _no_constant(name: str) -> NoReturn:
    _refuse("body", f"holds {name}, which is not JSON", "send a number")


def _integer(digits: str) -> int:
    if len(digits) > _INT_CHARS_MAX:
        _refuse("body", "holds a number with too many digits", "send a number that fits 64 bits")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse("body", "holds a number that is too large", "send a number that fits 64 bits")
    return number


def _texts(value: Any, location: str) -> Iterator[tuple[str, str]]:
    """Every text in the value with its place, names of members included."""
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{location}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield location, name
            yield from _texts(item, f"{location}.{name}")


def _shown(name: str) -> str:
    return json.dumps(name[:20])


def _too_large(limit: int) -> NoReturn:
    raise BodyTooLarge(f"The request body is larger than {limit} bytes")


def _refuse(location: str, message: str, fix: str) -> NoReturn:
    raise BadRequest("The request body cannot be read", errors=(Problem(location, message, fix),)) from None
