"""Validation of JSON bodies and query strings against msgspec types.

The types declare bounds with `msgspec.Meta`. `checked` adds a function for other constraints. Every problem has a
location (`body.limits[0].quota`), a message and a fix. Messages never repeat a value from the request, which may be a secret.

The time to decode a body is bounded: a body is first decoded as its type, which ends at the first value that the type does not
permit. Only a body that matches its type, or that is small, is parsed a second time.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from gatehouse.core.errors import PROBLEMS_MAX, BadRequest, Problem
from gatehouse.platform.http.forwarding import query_flaw

T = TypeVar("T")
_Struct = TypeVar("_Struct", bound=msgspec.Struct)

#: Returns the problem with a value, or an empty string. Called with JSON values that already match the declared type.
Check = Callable[[Any], str]

#: Maximum length of a field name in a problem. A client may send a token as a name, and at most this many characters of a token
#: are public.
NAME_CHARS_MAX = 20

#: Maximum number of strings in a body, including names. Bodies with up to twice as many may be accepted.
STRINGS_MAX = 10_000

#: Maximum size of a body of which all problems are reported; of a larger one, the first. Larger bodies are decoded in a thread.
_SMALL_BYTES_MAX = 65_536

_MESSAGE = re.compile(r"^(?P<message>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>[^\]]*)\]")
_TYPE_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}
_UNITS = {"str": "characters", "array": "items", "object": "entries"}
_MEMBER = re.compile(rb'"([a-z0-9_]*+)"[ \t\r\n]*+:')
_POSITION = re.compile(r"\(byte (\d+)\)")


def checked(check: Check, **constraints: Any) -> msgspec.Meta:
    """Constraints for `msgspec.Meta`, and a check that runs after these constraints."""
    return msgspec.Meta(extra={"check": check}, **constraints)


def matching(pattern: str, **constraints: Any) -> msgspec.Meta:
    """Constraints for a string that matches `pattern` as a whole. Uses `\\Z`, because Python's `$` also matches before a final
    line feed."""
    return msgspec.Meta(pattern=rf"^(?:{pattern})\Z", **constraints)


def published(pattern: str) -> str:
    """Converts a pattern from `matching` to an ECMA-262 regular expression, which has no `\\Z`."""
    return pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body, without the checks of `checked`. Raises BadRequest with a location and a fix for each problem."""
    result = _decode(body, kind)
    names = _MEMBER.findall(body)
    # Structs reject unknown fields, so every name is plain ASCII. If each name appears once and nothing is escaped, no object has
    # a duplicate, and no string a NUL character. Only other bodies are parsed again, with a slower parser.
    if len(set(names)) != len(names) or b"\\" in body:
        _value(body)
    return result


def decode_json(body: bytes, kind: type[T]) -> tuple[T, Any]:
    """Decode a JSON body. Returns it also as a JSON value. Raises BadRequest like `decode_body`."""
    result, value = _decode(body, kind), _value(body)
    _run_checks(value, kind, "body")
    return result, value


async def decode_large(body: bytes, kind: type[T]) -> tuple[T, Any]:
    """Like `decode_json`. Does not block the event loop."""
    if len(body) <= _SMALL_BYTES_MAX:
        return decode_json(body, kind)
    prepare(kind)
    return await asyncio.to_thread(decode_json, body, kind)


def prepare(*kinds: Any) -> None:
    """Build the descriptions of types, in the event loop, before a thread uses the types.

    msgspec builds a description at the first use, without a lock. Two threads that do so at the same time crash the process.
    """
    for kind in kinds:
        _decoder(kind)


def validate(value: object, kind: type[T], location: str) -> T:
    """Convert a JSON value. Raises BadRequest with one problem for each invalid top-level field."""
    try:
        result = _convert(value, kind)
    except msgspec.ValidationError as exc:
        raise _rejected(exc, kind, location, value) from None
    _run_checks(value, kind, location)
    return result


def validate_query(parameters: Mapping[str, str], kind: type[T]) -> T:
    """Convert query parameters, in which numbers and booleans are text. Raises BadRequest."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    values = {name: _from_text(text, fields[name]) if name in fields else text for name, text in parameters.items()}
    return validate(values, kind, "query")


def decode_query(query: bytes, kind: type[_Struct]) -> _Struct:
    """Decode a raw query string. Array fields may be repeated; integers are sent in decimal. Raises BadRequest with the first
    problem."""
    check_query(query)
    values: dict[str, Any] = {}
    arrays = _arrays(kind)
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in arrays:
            values.setdefault(name, []).append(text)
        elif name in values:
            raise invalid(f"query.{name[:NAME_CHARS_MAX]}", "is sent more than once", "send it once")
        else:
            values[name] = text
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise _rejected(exc, kind, "query", values) from None


def check_query(query: bytes) -> None:
    """Raises BadRequest for a raw query string that is not percent-encoded UTF-8."""
    message, _, fix = query_flaw(query).partition("; ")
    if message:
        raise invalid("query", message, fix)


def invalid(location: str, message: str, fix: str) -> BadRequest:
    """The error for one problem that types cannot express."""
    return BadRequest(f"{location} {message}", errors=(Problem(location, message, fix),))


def _decode(body: bytes, kind: type[T]) -> T:
    # The opening quote of a string does not follow a backslash, so this counts each string once or twice.
    if body.count(b'"') - body.count(b'\\"') > 2 * STRINGS_MAX:
        raise invalid("body", f"contains more than {STRINGS_MAX:,} strings", "divide the request")
    try:
        return cast("msgspec.json.Decoder[T]", _decoder(kind)).decode(body)  # type: ignore[arg-type]  # types are hashable
    except msgspec.ValidationError as exc:
        error = _rejected(exc, kind, "body", small_value(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        error = _malformed(body, exc)
    raise error from None


def _malformed(body: bytes, exc: Exception) -> BadRequest:
    """The error for a body that is not JSON."""
    if body.startswith(b"\xef\xbb\xbf"):
        return invalid("body", "begins with a byte order mark", "send UTF-8 without a byte order mark (RFC 8259, section 8.1)")
    try:
        body.decode()
    except UnicodeDecodeError:
        return invalid("body", "is not UTF-8 text", "send JSON encoded as UTF-8")
    position = _POSITION.search(str(exc))
    read = body[: int(position[1])] if position else body
    line, column = read.count(b"\n") + 1, len(read) - read.rfind(b"\n")
    return invalid(
        f"body at line {line}, column {column}",
        "is not valid JSON",
        "send JSON without unpaired surrogates, with Content-Type: application/json",
    )


def small_value(body: bytes) -> object:
    """The JSON value of a small body. Otherwise, or if the body cannot be parsed, None."""
    try:
        return msgspec.json.decode(body) if len(body) <= _SMALL_BYTES_MAX else None
    except (ValueError, RecursionError):
        return None


def _rejected(exc: msgspec.ValidationError, kind: Any, location: str, value: object) -> BadRequest:
    """The error for a value that does not match its type. `value`: used to find all problems. None: one problem is reported."""
    problems = list(islice(_field_problems(value, kind, location), PROBLEMS_MAX + 1))
    return _error(problems or [_translate(str(exc), kind, location)])


def _error(problems: Sequence[Problem]) -> BadRequest:
    single = f"{problems[0].location} {problems[0].message}"
    return BadRequest(single if len(problems) == 1 else "The request is invalid. See `errors`.", errors=tuple(problems))


def _value(body: bytes) -> Any:
    """The JSON value of a body. Raises BadRequest for duplicate names, of which parsers use different ones (RFC 8259, section 4),
    and for NUL, which PostgreSQL cannot store."""
    try:
        value = json.loads(body, object_pairs_hook=_members)
    except RecursionError:
        raise invalid("body", "is nested too deeply", "send a flatter document") from None
    if b"\\u0000" in body:
        for location, text in strings(value, "body"):
            if "\0" in text:
                raise invalid(location, "contains a NUL character", "remove that character")
    return value


def _run_checks(value: object, kind: Any, location: str) -> None:
    problems = list(islice(_first_failures(value, kind, location), PROBLEMS_MAX + 1))
    if problems:
        raise _error(problems)


def _convert(value: object, kind: type[T]) -> T:
    """Like `msgspec.convert`, but also raises ValidationError for an unpaired surrogate."""
    try:
        return msgspec.convert(value, kind)
    except UnicodeEncodeError:
        raise msgspec.ValidationError("Contains an unpaired surrogate") from None


def _from_text(text: str, kind: Any) -> object:
    """Converts a query parameter to an integer or boolean if the type accepts one. Otherwise, returns the text, which validation
    may reject."""
    accepted = {type(option) for option in _options(inspect.type_info(kind))}
    if inspect.IntType in accepted and re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII):
        return int(text)
    if inspect.BoolType in accepted and text in ("true", "false"):
        return text == "true"
    return text


def _field_problems(value: object, kind: Any, location: str) -> Iterator[Problem]:
    """One problem for each invalid top-level field."""
    if not isinstance(value, dict) or not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        field_location = f"{location}.{name}"
        if name not in value:
            if field.required:
                yield Problem(field_location, "is missing", "add this field")
            continue
        try:
            _convert(value[name], field.type)
        except msgspec.ValidationError as exc:
            yield _entry_problem(value[name], field.type, field_location) or _translate(str(exc), field.type, field_location)
        else:
            yield from _first(_failures(value[name], inspect.type_info(field.type), field_location))
    for name in value:
        if name not in fields:
            yield _unknown(name, kind, location)


def _entry_problem(value: object, kind: Any, location: str) -> Problem | None:
    """The problem with an invalid entry among the first entries of a map. The msgspec message does not contain its name."""
    if not isinstance(value, dict) or isinstance(_struct(inspect.type_info(kind)), inspect.StructType):
        return None
    for name, item in islice(value.items(), PROBLEMS_MAX):
        try:
            _convert({name: item}, kind)
        except msgspec.ValidationError as exc:
            match = _MESSAGE.match(str(exc))
            problem = _translate(match["message"] if match else str(exc), kind, f"{location}.{name[:NAME_CHARS_MAX]}")
            if match and match["key"]:
                return Problem(problem.location, f"has a name that {problem.message}", problem.fix)
            return problem
    return None


def _first_failures(value: object, kind: Any, location: str) -> Iterator[Problem]:
    """The first failed check of each top-level field."""
    info = _type_info(kind)
    if isinstance(info, inspect.StructType) and isinstance(value, dict):
        for field in info.fields:
            if field.encode_name in value:
                yield from _first(_failures(value[field.encode_name], field.type, f"{location}.{field.encode_name}"))
    else:
        yield from _first(_failures(value, info, location))


def _failures(value: Any, info: inspect.Type, location: str) -> Iterator[Problem]:
    """Failed checks of a JSON value that matches `info`."""
    if isinstance(info, inspect.Metadata):
        message = info.extra["check"](value) if info.extra and "check" in info.extra and value is not None else ""
        if message:
            yield Problem(location, message)
        yield from _failures(value, info.type, location)
    elif isinstance(info, inspect.UnionType):
        for option in info.types:
            if value is not None and not isinstance(option, inspect.NoneType):
                yield from _failures(value, option, location)
    elif isinstance(info, inspect.StructType):
        for field in info.fields:
            if field.encode_name in value:
                yield from _failures(value[field.encode_name], field.type, f"{location}.{field.encode_name}")
    elif isinstance(info, inspect.ListType | inspect.VarTupleType):
        for index, item in enumerate(value):
            yield from _failures(item, info.item_type, f"{location}[{index}]")
    elif isinstance(info, inspect.DictType):
        for name, item in value.items():
            yield from _failures(item, info.value_type, f"{location}.{name}")


def _first(problems: Iterator[Problem]) -> Iterator[Problem]:
    problem = next(problems, None)
    if problem is not None:
        yield problem


def _translate(text: str, kind: Any, location: str) -> Problem:
    """The problem that a msgspec message describes. A message may contain a name of any length."""
    text = text if len(text) <= 1000 else text[:500] + text[-500:]
    match = _MESSAGE.match(text)
    message, path = (match["message"], match["path"] or "$") if match else (text, "$")
    location += path.removeprefix("$")
    info = _resolve(_type_info(kind), path)
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
        struct = _struct(info)
        return _unknown(match[1], struct.cls if isinstance(struct, inspect.StructType) else None, location)
    if match := re.fullmatch(r"Object missing required field `(.*)`", message):
        return Problem(f"{location}.{match[1]}", "is missing", "add this field")
    if message.startswith("Invalid enum value"):
        values = [str(value) for option in _options(info) if isinstance(option, inspect.LiteralType) for value in option.values]
        return Problem(location, "is not one of the allowed values", f"send one of {', '.join(values)}" if values else "")
    if match := re.fullmatch(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`", message):
        name = _TYPE_NAMES.get(match[1], f"a {match[1]}")
        return Problem(location, f"must be {name}", f"send {name}")
    if match := re.fullmatch(r"Expected `(str|array|object)(?: \| null)?` of length ([<>]=) (\d+).*", message):
        return _length_problem(location, match[1], match[2] == "<=", match[3])
    if match := re.fullmatch(r"Expected `(?:int|float)(?: \| null)?` ([<>]=) (-?[\d.]+)", message):
        small = match[1] == ">="
        return Problem(location, f"is too {'small' if small else 'large'}", f"send {match[2]} or {'more' if small else 'less'}")
    if match := re.fullmatch(r"Expected `str(?: \| null)?` matching regex '(.*)'", message, re.DOTALL):
        pattern = published(match[1].replace("\\\\", "\\"))
        return Problem(location, "does not match the required pattern", f"send a string that matches {pattern}")
    if "out of range" in message:
        return Problem(location, "is too large", "send a number that fits in 64 bits")
    return Problem(location, message[:1].lower() + message[1:])


def _length_problem(location: str, kind: str, at_most: bool, bound: str) -> Problem:
    message = f"is too {'long' if at_most else 'short'}" if kind == "str" else f"has too {'many' if at_most else 'few'} items"
    return Problem(location, message, f"send at {'most' if at_most else 'least'} {bound} {_UNITS[kind]}")


def _unknown(name: str, kind: Any, location: str) -> Problem:
    known = () if kind is None else kind.__struct_encode_fields__
    fix = "remove it, or correct its name" + (f": {', '.join(known)}" if known else "")
    return Problem(f"{location}.{name[:NAME_CHARS_MAX]}", "is not a known field", fix)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _type_info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _arrays(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Names of the fields that are arrays."""
    fields = {field.encode_name: _options(inspect.type_info(field.type)) for field in msgspec.structs.fields(kind)}
    return frozenset(name for name, options in fields.items() if isinstance(options[0], inspect.ListType | inspect.VarTupleType))


def _options(info: inspect.Type) -> tuple[inspect.Type, ...]:
    """The types that a value may have, without annotations."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    return tuple(inner for option in info.types for inner in _options(option)) if isinstance(info, inspect.UnionType) else (info,)


def _struct(info: inspect.Type) -> inspect.Type:
    return next((option for option in _options(info) if isinstance(option, inspect.StructType)), info)


def _resolve(info: inspect.Type, path: str) -> inspect.Type:
    """The type at a path such as `$.limits[0].quota`."""
    for step in _STEP.finditer(path):
        for option in _options(info):
            if step["name"] is not None and isinstance(option, inspect.StructType):
                info = next((field.type for field in option.fields if field.encode_name == step["name"]), info)
            elif isinstance(option, inspect.ListType | inspect.VarTupleType):
                info = option.item_type
            elif isinstance(option, inspect.DictType):
                info = option.value_type
    return info


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise invalid("body", f"has the name {json.dumps(duplicate[:NAME_CHARS_MAX])} twice", "send each name once per object")
    return members


def strings(value: Any, location: str, exempt: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Every string in the value, including names, with its location. Values of fields that are named in `exempt` are omitted."""
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from strings(item, f"{location}[{index}]", exempt)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield location, name
            if name not in exempt:
                yield from strings(item, f"{location}.{name}" if name.isidentifier() else location, exempt)
