"""Decodes JSON bodies and query strings into msgspec types, which declare all bounds.

`checked` adds a function for constraints that msgspec does not have. The error names the first
problem, with its location (`body.limits[0].quota`) and what to send. It never repeats a value from
the request, which may be a secret.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from gatehouse.core.errors import BadRequest, Problem, UnsupportedMediaType
from gatehouse.core.http.forwarding import query_flaw
from gatehouse.core.texts import TextClass, multi_line, single_line

T = TypeVar("T")

#: Returns the problem with a value, or an empty string. Called with JSON values that already match
#: the declared type.
Check = Callable[[Any], str]

#: Maximum length of a field name in a problem. A client may send a token as a name, and at most
#: this many characters of a token are public.
NAME_CHARS_MAX = 20

#: The beginning of the text of a `ValidationError`, and what to add to its location; the message;
#: and what to send.
_MESSAGES = (
    (r"Object missing required field `(.+)`", "is missing", "add this field"),
    (
        r"Object contains unknown field `(.*)`",
        "is not a known field",
        "remove it, or send one of FIELDS",
    ),
    (r"Invalid base64", "is not base64", "send standard base64 (RFC 4648, section 4) with padding"),
    (r"\w+ (?:value )?out of range", "is too large", "send a number that fits in 64 bits"),
)
_EXPECTED = re.compile(r"Expected `([^`]+)`(.*)", re.DOTALL)
_NAMES = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bytes": "base64",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}
_LISTS = (inspect.ListType, inspect.VarTupleType)
_PATH = re.compile(r"(.*?)(?: - at `(key` in `)?\$([^`]*)`)?", re.DOTALL)


def checked(
    check: Check, kind: TextClass = TextClass.IDENTIFIER, **constraints: Any
) -> msgspec.Meta:
    """Constraints for `msgspec.Meta`, and a check that runs after these constraints. kind: the
    class of a text.
    """
    return msgspec.Meta(extra={"check": check, "text": kind}, **constraints)


def name_text(**constraints: Any) -> msgspec.Meta:
    """Constraints for a text of the class name."""
    return checked(single_line, TextClass.NAME, **constraints)


def note_text(**constraints: Any) -> msgspec.Meta:
    """Constraints for a text of the class note."""
    return checked(multi_line, TextClass.NOTE, **constraints)


def unchanged(kind: TextClass = TextClass.IDENTIFIER, **constraints: Any) -> msgspec.Meta:
    """Constraints for a text without a check: an identifier that is compared or parsed elsewhere,
    content or a passphrase.
    """
    return msgspec.Meta(extra={"text": kind}, **constraints)


def matching(pattern: str, **constraints: Any) -> msgspec.Meta:
    """Constraints for a string that matches `pattern` as a whole. Uses `\\Z`, because Python's `$`
    also matches before a final line feed."""
    return msgspec.Meta(
        pattern=rf"^(?:{pattern})\Z", extra={"text": TextClass.IDENTIFIER}, **constraints
    )


def published(pattern: str) -> str:
    """Converts a pattern from `matching` to an ECMA-262 regular expression, which has no `\\Z`."""
    return pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body. Raises BadRequest with the location of the problem and a fix."""
    try:
        result: T = _decoder(kind).decode(body)  # type: ignore[arg-type]  # types are hashable
    except msgspec.ValidationError as exc:
        raise _error(exc, kind, "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        reason = str(exc) if isinstance(exc, msgspec.DecodeError) else type(exc).__name__
        raise invalid("body", "is not valid JSON", f"send JSON in UTF-8: {reason}") from None
    if b"\\u0000" in body or _has_checks(kind):  # type: ignore[arg-type]  # types are hashable
        value = json_value(body)
        for place, text in strings(value, "body") if b"\\u0000" in body else ():
            if "\0" in text:  # which PostgreSQL cannot store
                raise invalid(place, "contains a NUL character", "remove that character")
        _run_checks(value, kind, "body")
    return result


def validate(value: object, kind: type[T], location: str, *, strict: bool = True) -> T:
    """Converts a JSON value. strict: numbers and booleans are not text. Raises BadRequest."""
    try:
        result = msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as exc:
        raise _error(exc, kind, location) from None
    except UnicodeEncodeError:
        raise invalid(location, "contains an unpaired surrogate", "remove it") from None
    _run_checks(value, kind, location)
    return result


def decode_query(query: bytes, kind: type[T]) -> T:
    """Decode a raw query string. Array fields may be repeated. Raises BadRequest."""
    values: dict[str, Any] = {}
    for name, text in parameters(query):
        if name in array_fields(kind):  # type: ignore[arg-type]  # types are hashable
            values.setdefault(name, []).append(text)
        elif name in values:
            raise invalid(
                f"query.{name[:NAME_CHARS_MAX]}", "is sent more than once", "send it once"
            )
        else:
            values[name] = text
    return validate(values, kind, "query", strict=False)


def parameters(query: bytes) -> list[tuple[str, str]]:
    """Decoded names and values of a raw query string, in order. Raises BadRequest."""
    message, _, fix = query_flaw(query).partition("; ")
    if message:
        raise invalid("query", message, fix)
    return parse_qsl(query.decode("latin-1"), keep_blank_values=True)


def invalid(location: str, message: str, fix: str) -> BadRequest:
    """The error for one problem that types cannot express."""
    return BadRequest(f"{location} {message}".strip(), errors=(Problem(location, message, fix),))


def json_value(body: bytes) -> Any:
    """The JSON value of a body, or None if it cannot be parsed."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _error(exc: Exception, kind: Any, location: str) -> BadRequest:
    """The problem that msgspec reports, without a value of the request."""
    match = _PATH.fullmatch(str(exc))
    text, is_name, path = ("", "", "") if match is None else match.groups(default="")
    location += path
    for pattern, message, fix in _MESSAGES:
        found = re.match(pattern, text, re.DOTALL)
        if found:
            name = f".{found[1][:NAME_CHARS_MAX]}" if found.groups() else ""
            fix = fix.replace("FIELDS", ", ".join(_field_names(kind, path)))
            return invalid(location + name, message, fix)
    expected = _EXPECTED.fullmatch(text.partition(", got `")[0])
    if expected is not None:
        names = " or ".join(_NAMES.get(name, name) for name in expected[1].split(" | "))
        wanted = names + expected[2].replace(r"\\Z'", "$'")
        subject = "has a name that must be" if is_name else "must be"
        return invalid(location, f"{subject} {wanted}", f"send {wanted}")
    if exc.__cause__ is not None:  # raised by a `__post_init__`
        return invalid(location, text, "")
    values = ", ".join(_choices(kind, path))
    return invalid(location, "is not one of the allowed values", f"send one of {values}")


def _at(kind: Any, path: str) -> Iterator[inspect.Type]:
    """The parts of the type at the end of a path, such as `.limits[0].kind`."""
    name = path.rpartition(".")[2].partition("[")[0]
    if not name:
        yield _type_info(kind)
    for struct in parts(_type_info(kind)):
        for field in struct.fields if isinstance(struct, inspect.StructType) else ():
            yield from parts(field.type) if field.encode_name == name else ()


def _choices(kind: Any, path: str) -> Iterator[str]:
    """The allowed values at the end of a path."""
    for part in _at(kind, path):
        if isinstance(part, inspect.LiteralType):
            yield from map(str, part.values)
        elif isinstance(part, inspect.EnumType):
            yield from (str(member.value) for member in part.cls)


def _field_names(kind: Any, path: str) -> list[str]:
    """The names of the fields of the object at the end of a path."""
    structs = (part for part in _at(kind, path) if isinstance(part, inspect.StructType))
    return sorted(field.encode_name for struct in islice(structs, 1) for field in struct.fields)


def _run_checks(value: object, kind: Any, location: str) -> None:
    if _has_checks(kind):
        for place, message in _flaws(value, _type_info(kind), location):
            raise invalid(place, message, "")


def _flaws(value: Any, info: inspect.Type, location: str) -> Iterator[tuple[str, str]]:
    """Locations and messages of the functions of `checked` for a JSON value of the type."""
    if value is None:
        return
    match info:
        case inspect.Metadata():
            yield from _flaws(value, info.type, location)
            check: Check | None = (info.extra or {}).get("check")
            if check is not None and (message := check(value)):
                yield location, message
        case inspect.UnionType():
            for option in info.types:
                if not isinstance(option, inspect.NoneType):
                    yield from _flaws(value, option, location)
        case inspect.StructType():
            for field in info.fields:
                name = field.encode_name
                yield from _flaws(value.get(name), field.type, f"{location}.{name}")
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            for index, each in enumerate(value):
                yield from _flaws(each, item, f"{location}[{index}]")
        case inspect.DictType():
            for name, each in value.items():
                place = f"{location}.{name[:NAME_CHARS_MAX]}"
                yield from _flaws(name, info.key_type, place)
                yield from _flaws(each, info.value_type, place)


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
def array_fields(kind: Any) -> frozenset[str]:
    """Names of the fields of a struct that are arrays."""
    return frozenset(
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if any(isinstance(part, _LISTS) for part in parts(inspect.type_info(field.type)))
    )


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


def check_json(content_type: str, *, lenient: bool = False) -> None:
    """Raises UnsupportedMediaType unless the Content-Type of a request is JSON.

    lenient: also accept a missing header, and the types that `curl -d` and `fetch` send by default.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or (
        lenient and media_type in ("", "application/x-www-form-urlencoded", "text/plain")
    ):
        return
    fix = "send Content-Type: application/json"
    problem = Problem("header.content-type", "is not application/json", fix)
    raise UnsupportedMediaType("The request cannot be read.", errors=(problem,))
