"""Reads a JSON body into a struct and says in one sentence what is wrong with it: where, what, and what to send."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TypeVar

import msgspec

from gatehouse.errors import BadRequest, Problem
from gatehouse.http.paths import query_flaw

T = TypeVar("T", bound=msgspec.Struct)


_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>[^`]*)`)?$", re.DOTALL)


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")


_MEMBER = re.compile(rb'"([a-z0-9_]*)"[ \t\r\n]*:')


_NAME_CHARS_MAX = 40


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Raises BadRequest. No value of the body is repeated in the message: it may be a token."""
    try:
        value = decoder.decode(body)
        problem = _ambiguous(body)
        if problem is None:
            return value
    except msgspec.ValidationError as exc:
        problem = _problem(str(exc), decoder)
    except RecursionError:
        problem = Problem(location="body", message="is nested too deep", fix="send a flatter document")
    except (msgspec.DecodeError, ValueError):
        problem = Problem(location="body", message="is not JSON", fix="send a JSON object with Content-Type: application/json")
    raise BadRequest(f"{problem.location} {problem.message}", errors=(problem,))


def check_query(query: bytes) -> None:
    """Raises BadRequest when the raw query has not one meaning."""
    wrong, _, fix = query_flaw(query).partition("; ")
    if wrong:
        raise bad_member("query", wrong, fix)


def bad_member(location: str, message: str, fix: str) -> BadRequest:
    """One wrong member, found by a check that the types cannot express."""
    return BadRequest(f"{location} {message}", errors=(Problem(location=location, message=message, fix=fix),))


def _ambiguous(body: bytes) -> Problem | None:
    """A member that is named twice has two values, and another reader may take the other one (RFC 8259, section 4).

    The structs refuse unknown members, so every name is plain ASCII: where each stands once and nothing is escaped, none can be
    twice in one object. Only other bodies are read again, with the slow parser that sees the pairs.
    """
    names = _MEMBER.findall(body)
    if len(set(names)) == len(names) and b"\\" not in body:
        return None
    twice: list[str] = []

    def members(pairs: list[tuple[str, object]]) -> None:
        twice.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)

    json.loads(body, object_pairs_hook=members)
    if not twice:
        return None
    return Problem(location="body", message=f"names {json.dumps(twice[0][:_NAME_CHARS_MAX])} twice", fix="send every member once")


def _problem(text: str, decoder: msgspec.json.Decoder[T]) -> Problem:
    match = _AT.match(text)
    what, where = (match["what"], match["where"] or "$") if match else (text, "$")
    location = "body" + where.removeprefix("$")
    unknown = _UNKNOWN.fullmatch(what)
    if unknown:
        known = ", ".join(field.name for field in msgspec.structs.fields(decoder.type))
        name = unknown["name"][:_NAME_CHARS_MAX]
        return Problem(location=f"{location}.{name}", message="is not a known member", fix=f"known members: {known}")
    missing = _MISSING.fullmatch(what)
    if missing:
        return Problem(location=f"{location}.{missing['name']}", message="is missing", fix="send it")
    return Problem(location=location, message=what[:1].lower() + what[1:], fix="send a value of the type that is expected")
