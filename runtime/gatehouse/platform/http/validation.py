"""Validation of JSON bodies and query strings against msgspec types.

The types declare bounds with `msgspec.Meta`. `checked` adds a function for other constraints. Every
problem has a location (`body.limits[0].quota`), a message and a fix. Messages never repeat a value
from the request, which may be a secret.

msgspec decides whether a value matches its type. If not, `_problems` compares the value with the
description of the type. A body is then decoded one level at a time, so that the time is linear in
its size, whatever it contains.
"""

import asyncio
import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from gatehouse.core.errors import PROBLEMS_MAX, BadRequest, Problem
from gatehouse.platform.http.forwarding import query_flaw

T = TypeVar("T")

#: Returns the problem with a value, or an empty string. Called with JSON values that already match
#: the declared type.
Check = Callable[[Any], str]

#: The message and the fix of a problem.
Flaw = tuple[str, str]

#: Maximum length of a field name in a problem. A client may send a token as a name, and at most
#: this many characters of a token are public.
NAME_CHARS_MAX = 20

#: Maximum number of strings in a body, including names, and of items in an array whose problems are
#: reported. Bodies with up to twice as many strings may be accepted.
STRINGS_MAX = 10_000

#: Maximum number of parameters in a query.
PARAMETERS_MAX = 100

#: Maximum size of a body of which all problems are reported; of a larger one, the first. Larger
#: bodies are decoded in a thread.
_SMALL_BYTES_MAX = 65_536

_MEMBER = re.compile(rb'"([a-z0-9_]*+)"[ \t\r\n]*+:')
_WHITE_SPACE = b" \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")

_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raw_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

#: Stand for a number that does not fit in 64 bits, and for a large array, which is not decoded.
_OUT_OF_RANGE, _TOO_MANY = object(), object()


def checked(check: Check, **constraints: Any) -> msgspec.Meta:
    """Constraints for `msgspec.Meta`, and a check that runs after these constraints."""
    return msgspec.Meta(extra={"check": check}, **constraints)


def matching(pattern: str, **constraints: Any) -> msgspec.Meta:
    """Constraints for a string that matches `pattern` as a whole. Uses `\\Z`, because Python's `$`
    also matches before a final line feed."""
    return msgspec.Meta(pattern=rf"^(?:{pattern})\Z", **constraints)


def published(pattern: str) -> str:
    """Converts a pattern from `matching` to an ECMA-262 regular expression, which has no `\\Z`."""
    return pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body. Raises BadRequest with a location and a fix for each problem."""
    result, names = _decode(body, kind), _MEMBER.findall(body)
    # Structs reject unknown fields, so every name is plain ASCII. If each name appears once and
    # nothing is escaped, no object has a duplicate, and no string a NUL character. Only other
    # bodies are parsed again, with a slower parser.
    if len(set(names)) != len(names) or b"\\" in body or _has_checks(kind):  # type: ignore[arg-type]  # types are hashable
        _run_checks(_value(body), kind, "body")
    return result


def decode_json(body: bytes, kind: type[T]) -> tuple[T, Any]:
    """Like `decode_body`. Returns the body also as a JSON value."""
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

    msgspec builds a description at the first use, without a lock. Two threads that do so at the
    same time crash the process.
    """
    for kind in kinds:
        _decoder(kind)
        _type_info(kind)


def validate(value: object, kind: type[T], location: str) -> T:
    try:
        result = msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise _error(_problems(value, _type_info(kind), location), location) from None  # type: ignore[arg-type]  # types are hashable
    _run_checks(value, kind, location)
    return result


def decode_query(query: bytes, kind: type[T]) -> T:
    """Decode a raw query string, in which numbers and booleans are text. Array fields may be
    repeated. Raises BadRequest.
    """
    values: dict[str, Any] = {}
    arrays, readers = _query_fields(kind)  # type: ignore[arg-type]  # types are hashable
    for name, text in parameters(query):
        if name in arrays:
            values.setdefault(name, []).append(text)
        elif name in values:
            raise invalid(
                f"query.{name[:NAME_CHARS_MAX]}", "is sent more than once", "send it once"
            )
        else:
            values[name] = readers[name](text) if name in readers else text
    return validate(values, kind, "query")


def parameters(query: bytes) -> list[tuple[str, str]]:
    """Decoded names and values of a raw query string, in order. Raises BadRequest."""
    message, _, fix = query_flaw(query).partition("; ")
    if message:
        raise invalid("query", message, fix)
    if query.count(b"&") >= PARAMETERS_MAX:
        raise invalid("query", f"has more than {PARAMETERS_MAX} parameters", "send fewer")
    return parse_qsl(query.decode("latin-1"), keep_blank_values=True)


def invalid(location: str, message: str, fix: str) -> BadRequest:
    """The error for one problem that types cannot express."""
    return BadRequest(f"{location} {message}", errors=(Problem(location, message, fix),))


def _decode(body: bytes, kind: type[T]) -> T:
    # The opening quote of a string does not follow a backslash, so this counts each string once or
    # twice.
    quotes = body.count(b'"')
    if quotes > 2 * STRINGS_MAX and quotes - body.count(b'\\"') > 2 * STRINGS_MAX:
        raise invalid("body", f"contains more than {STRINGS_MAX:,} strings", "divide the request")
    try:
        return cast("msgspec.json.Decoder[T]", _decoder(kind)).decode(body)  # type: ignore[arg-type]  # types are hashable
    except msgspec.ValidationError:
        problems_max = PROBLEMS_MAX + 1 if len(body) <= _SMALL_BYTES_MAX else 1
        try:
            error = _error(
                _problems(msgspec.Raw(body.strip(_WHITE_SPACE)), _type_info(kind), "body"),  # type: ignore[arg-type]  # types are hashable
                "body",
                problems_max,
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            error = _malformed(body, exc)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        error = _malformed(body, exc)
    raise error from None


def _malformed(body: bytes, exc: Exception) -> BadRequest:
    """The error for a body that is not JSON. Its location has a line and a column if the body is
    small, unless the json module accepts it.
    """
    if isinstance(exc, RecursionError):
        return invalid("body", "is nested too deeply", "send a flatter document")
    if body.startswith(b"\xef\xbb\xbf"):
        return invalid(
            "body",
            "begins with a byte order mark",
            "send UTF-8 without a byte order mark (RFC 8259, section 8.1)",
        )
    location = "body"
    try:
        text = body.decode()
        if len(body) <= _SMALL_BYTES_MAX:
            json.loads(text)
    except UnicodeDecodeError:
        return invalid("body", "is not UTF-8 text", "send JSON encoded as UTF-8")
    except json.JSONDecodeError as error:
        location = f"body at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):  # a number with thousands of digits, or deep nesting
        pass
    return invalid(
        location,
        "is not valid JSON",
        "send JSON without NaN and unpaired surrogates, with Content-Type: application/json",
    )


def small_value(body: bytes) -> object:
    """The JSON value of a small body. Otherwise, or if the body cannot be parsed, None."""
    try:
        return msgspec.json.decode(body) if len(body) <= _SMALL_BYTES_MAX else None
    except (ValueError, RecursionError):
        return None


def _error(
    problems: Iterator[Problem], location: str, problems_max: int = PROBLEMS_MAX + 1
) -> BadRequest:
    reported = tuple(islice(problems, problems_max)) or (
        Problem(location, "does not match its type"),
    )
    single = f"{reported[0].location} {reported[0].message}"
    return BadRequest(
        single if len(reported) == 1 else "The request is invalid. See `errors`.", errors=reported
    )


def _value(body: bytes) -> Any:
    """The JSON value of a body. Raises BadRequest for duplicate names, of which parsers use
    different ones (RFC 8259, section 4), and for NUL, which PostgreSQL cannot store."""
    try:
        value = json.loads(body, object_pairs_hook=_members)
    except RecursionError as exc:
        raise _malformed(body, exc) from None
    if b"\\u0000" in body:
        for location, text in strings(value, "body"):
            if "\0" in text:
                raise invalid(location, "contains a NUL character", "remove that character")
    return value


def _run_checks(value: object, kind: Any, location: str) -> None:
    if _has_checks(kind):
        problems = list(islice(_problems(value, _type_info(kind), location), PROBLEMS_MAX + 1))
        if problems:
            raise _error(iter(problems), location)


def _problems(value: Any, info: inspect.Type, location: str) -> Iterator[Problem]:
    """All problems of a value.

    value: a JSON value, or part of a valid JSON document, which is decoded one level at a time.
    Raises DecodeError, UnicodeDecodeError and RecursionError if the document is not valid.
    """
    if isinstance(info, inspect.Metadata):
        check = partial(_check_message, value, info)
        yield from _or_else(_problems(value, info.type, location), check, location)
        return
    if isinstance(info, inspect.UnionType):
        # Requests have no other unions than of one type and null.
        options = [option for option in info.types if not isinstance(option, inspect.NoneType)]
        if not _is_null(value) or len(options) == len(info.types):
            yield from _problems(value, options[0], location)
        return
    if isinstance(value, msgspec.Raw):
        value = _one_level(value, info)
    flaw = _flaw(value, info)
    if flaw is not None:
        yield Problem(location, *flaw)
    elif isinstance(info, inspect.StructType):
        check = partial(_struct_message, value, info.cls)
        yield from _or_else(_field_problems(value, info, location), check, location)
    else:
        yield from _part_problems(value, info, location)


def _or_else(
    problems: Iterator[Problem], check: Callable[[], str], location: str
) -> Iterator[Problem]:
    """The problems. If there are none, the one that the check returns."""
    has_problems = False
    for problem in problems:
        has_problems = True
        yield problem
    if not has_problems and (message := check()):
        yield Problem(location, message)


def _check_message(value: Any, info: inspect.Metadata) -> str:
    """The message of the function of `checked`, or an empty text."""
    check: Check | None = (info.extra or {}).get("check")
    return "" if check is None or _is_null(value) else check(_complete(value))


def _struct_message(value: Any, kind: type[msgspec.Struct]) -> str:
    """The message of a `__post_init__` that rejects the fields together, or an empty text."""
    if hasattr(kind, "__post_init__"):
        try:
            msgspec.convert(_complete(value), kind)
        except msgspec.ValidationError as exc:
            return str(exc.__cause__)
    return ""


def _part_problems(value: Any, info: inspect.Type, location: str) -> Iterator[Problem]:
    """Problems of the items of an array, and of the values and names of a map."""
    match info:
        case inspect.ListType() | inspect.VarTupleType():
            for index, item in enumerate(value):
                yield from _problems(item, info.item_type, f"{location}[{index}]")
        case inspect.TupleType():
            for index, (item, kind) in enumerate(zip(value, info.item_types, strict=True)):
                yield from _problems(item, kind, f"{location}[{index}]")
        case inspect.DictType():
            paths = {name: f"{location}.{name[:NAME_CHARS_MAX]}" for name in value}
            for name, item in value.items():
                yield from _problems(item, info.value_type, paths[name])
            for name, path in paths.items():
                for problem in _problems(name, info.key_type, path):
                    yield Problem(
                        problem.location, f"has a name that {problem.message}", problem.fix
                    )


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, msgspec.Raw) and bytes(value) == b"null")


def _one_level(raw: msgspec.Raw, info: inspect.Type) -> Any:
    """The JSON value of part of a document, in which the members of an object and the items of an
    array are not decoded. They are omitted if the type is another one; then only a small part is
    checked to be valid.
    """
    text = bytes(raw)
    is_large = len(text) > _SMALL_BYTES_MAX
    for start, kind, decode in ((b"{", dict, _raw_members), (b"[", list, _raw_items)):
        if text.startswith(start):
            if type(info) in _KINDS and issubclass(kind, _KINDS[type(info)].accepted):
                is_large = is_large and kind is list and text.count(b",") > STRINGS_MAX
                return _TOO_MANY if is_large else decode(text)
            if not is_large:
                msgspec.json.decode(text, type=msgspec.Raw)
            return kind()
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:
        return _OUT_OF_RANGE


def _complete(value: Any) -> Any:
    """The value without parts that are not decoded."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, dict):
        return {name: _complete(item) for name, item in value.items()}
    return [_complete(item) for item in value] if isinstance(value, list) else value


def _field_problems(
    value: Mapping[str, Any], info: inspect.StructType, location: str
) -> Iterator[Problem]:
    """Problems of each field of an object, in the order of the declaration, and unknown fields."""
    names = {field.encode_name: None for field in info.fields}
    for field in info.fields:
        if field.encode_name in value:
            yield from _problems(
                value[field.encode_name], field.type, f"{location}.{field.encode_name}"
            )
        elif field.required:
            yield Problem(f"{location}.{field.encode_name}", "is missing", "add this field")
    if info.forbid_unknown_fields:
        fix = "remove it, or correct its name" + (f": {', '.join(names)}" if names else "")
        yield from (
            Problem(f"{location}.{name[:NAME_CHARS_MAX]}", "is not a known field", fix)
            for name in value
            if name not in names
        )


def _flaw(value: Any, info: inspect.Type) -> Flaw | None:
    """The problem with the type, the size or the value itself, without the items and members."""
    if value is _OUT_OF_RANGE:
        return "is too large", "send a number that fits in 64 bits"
    if value is _TOO_MANY:
        return "has too many items", f"send at most {STRINGS_MAX:,} items"
    kind = _KINDS.get(type(info))
    if kind is None:  # any value
        return None
    if not isinstance(value, kind.accepted) or (
        isinstance(value, bool) and kind.accepted is not bool
    ):
        return f"must be {kind.name}", f"send {kind.name}"
    return kind.flaw(value, info)


def _number_flaw(value: float, info: Any) -> Flaw | None:
    if info.ge is not None and value < info.ge:
        return "is too small", f"send {info.ge} or more"
    if info.le is not None and value > info.le:
        return "is too large", f"send {info.le} or less"
    return None


def _text_flaw(value: str, info: Any) -> Flaw | None:
    if _SURROGATE.search(value):
        return "contains an unpaired surrogate", "remove it"
    flaw = _count_flaw("characters", value, info)
    if flaw is None and info.pattern and not re.search(info.pattern, value):
        fix = f"send a string that matches {published(info.pattern)}"
        return "does not match the required pattern", fix
    return flaw


def _base64_flaw(value: str, info: Any) -> Flaw | None:
    try:
        size = len(base64.b64decode(value, validate=True))
    except ValueError:
        return "is not base64", "send standard base64 (RFC 4648, section 4) with padding"
    return _size_flaw(size, info.min_length, info.max_length, "bytes in base64")


def _choice_flaw(value: str, info: Any) -> Flaw | None:
    is_literal = isinstance(info, inspect.LiteralType)
    allowed = info.values if is_literal else [member.value for member in info.cls]
    if value in allowed:
        return None
    return "is not one of the allowed values", f"send one of {', '.join(map(str, allowed))}"


def _size_flaw(size: int, low: int | None, high: int | None, unit: str) -> Flaw | None:
    is_text = unit in ("characters", "bytes in base64")
    if high is not None and size > high:
        return "is too long" if is_text else "has too many items", f"send at most {high} {unit}"
    if low is not None and size < low:
        return "is too short" if is_text else "has too few items", f"send at least {low} {unit}"
    return None


def _count_flaw(unit: str, value: Any, info: Any) -> Flaw | None:
    return _size_flaw(len(value), info.min_length, info.max_length, unit)


class _Kind(NamedTuple):
    """Types of JSON values that a type accepts, their name in messages, and the function that
    returns the problem with such a value.
    """

    accepted: Any
    name: str
    flaw: Callable[[Any, Any], Flaw | None] = lambda value, info: None


_ARRAY = _Kind((list, tuple), "an array", partial(_count_flaw, "items"))
_CHOICE = _Kind(str, "a string", _choice_flaw)
_KINDS: dict[type[inspect.Type], _Kind] = {
    inspect.StrType: _Kind(str, "a string", _text_flaw),
    inspect.BytesType: _Kind(str, "a string", _base64_flaw),
    inspect.LiteralType: _CHOICE,
    inspect.EnumType: _CHOICE,
    inspect.IntType: _Kind(int, "an integer", _number_flaw),
    inspect.FloatType: _Kind((int, float), "a number", _number_flaw),
    inspect.BoolType: _Kind(bool, "true or false"),
    inspect.ListType: _ARRAY,
    inspect.VarTupleType: _ARRAY,
    inspect.TupleType: _ARRAY._replace(
        flaw=lambda value, info: _size_flaw(len(value), *2 * (len(info.item_types),), "items")
    ),
    inspect.DictType: _Kind(dict, "an object", partial(_count_flaw, "entries")),
    inspect.StructType: _Kind(dict, "an object"),
}


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _type_info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _has_checks(kind: Any) -> bool:
    return any(
        info.extra and "check" in info.extra
        for info in parts(_type_info(kind))
        if isinstance(info, inspect.Metadata)
    )


@cache
def _query_fields(kind: Any) -> tuple[frozenset[str], dict[str, Callable[[str], object]]]:
    """Names of the fields that are arrays, and functions that convert the text of a number or a
    boolean.
    """
    info = _type_info(kind)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - every query is declared as a struct
    types = {field.encode_name: {type(part) for part in parts(field.type)} for field in info.fields}
    arrays = frozenset(
        name for name, found in types.items() if found & {inspect.ListType, inspect.VarTupleType}
    )
    scalars = {
        name: found & {inspect.IntType, inspect.BoolType}
        for name, found in types.items()
        if name not in arrays
    }
    return arrays, {
        name: partial(_from_text, accepted=found) for name, found in scalars.items() if found
    }


def _from_text(text: str, accepted: set[type[inspect.Type]]) -> object:
    """Converts a query parameter to an integer or boolean if the type accepts one. Otherwise,
    returns the text, which validation may reject."""
    if inspect.IntType in accepted and re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII):
        return int(text)
    if inspect.BoolType in accepted and text in ("true", "false"):
        return text == "true"
    return text


def parts(info: inspect.Type) -> Iterator[inspect.Type]:
    """A type and all types of which it consists."""
    yield info
    match info:
        case inspect.Metadata(type=inner):
            yield from parts(inner)
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
            yield from parts(inner)
        case inspect.DictType():
            yield from (*parts(info.key_type), *parts(info.value_type))
        case inspect.UnionType(types=several) | inspect.TupleType(item_types=several):
            yield from chain.from_iterable(map(parts, several))
        case inspect.StructType():
            yield from chain.from_iterable(parts(field.type) for field in info.fields)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        duplicate = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise invalid(
            "body",
            f"has the name {json.dumps(duplicate[:NAME_CHARS_MAX])} twice",
            "send each name once per object",
        )
    return members


def strings(
    value: Any, location: str, exempt: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Every string in the value, including names, with its location. Values of fields that are
    named in `exempt` are omitted.
    """
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from strings(item, f"{location}[{index}]", exempt)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield location, name
            if name not in exempt:
                yield from strings(
                    item, f"{location}.{name}" if name.isidentifier() else location, exempt
                )
