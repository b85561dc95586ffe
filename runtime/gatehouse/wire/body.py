"""Reads a JSON body into a struct and says in one sentence what is wrong with it: where, what, and what to send."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from gatehouse.errors import BadRequest, Problem

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_NAME_CHARS_MAX = 40


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Raises BadRequest. No value of the body is repeated in the message: it may be a token."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        problem = _problem(str(exc), decoder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(location="body", message="is not JSON", fix="send a JSON object with Content-Type: application/json")
    raise BadRequest(f"{problem.location} {problem.message}", errors=(problem,))


def bad_member(location: str, message: str, fix: str) -> BadRequest:
    """One wrong member, found by a check that the types cannot express."""
    return BadRequest(f"{location} {message}", errors=(Problem(location=location, message=message, fix=fix),))


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
