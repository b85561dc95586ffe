"""Decodes JSON bodies and query strings into msgspec types, which declare all bounds.

`checked` adds a function for constraints that msgspec does not have. The error names every problem
once, with its location (`body.limits[0].quota`), in the words of people: a pattern has a form
(`core.texts.matching`). It never repeats a value from the request, which may be a secret.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from gatehouse.core.errors import BadRequest, Problem, UnsupportedMediaType
from gatehouse.core.http.forwarding import query_flaw
from gatehouse.core.notation import count, duration
from gatehouse.core.texts import TextClass, multi_line, single_line

T = TypeVar("T")

#: Returns the problem with a value, or an empty string. Called with JSON values that already match
#: the declared type.
Check = Callable[[Any], str]

#: Maximum length of a field name in a problem. A client may send a token as a name, and at most
#: this many characters of a token are public.
NAME_CHARS_MAX = 20

#: Maximum number of problems in an error.
PROBLEMS_MAX = 20

#: JSON types by the types of fields, and their names.
_TYPES: dict[type[inspect.Type], tuple[type, str]] = {
    inspect.IntType: (int, "an integer"),
    inspect.FloatType: (float, "a number"),
    inspect.StrType: (str, "a string"),
    inspect.BytesType: (bytes, "standard base64 (RFC 4648, section 4) with padding"),
    inspect.BoolType: (bool, "true or false"),
}
_UNITS: dict[type, str] = {str: "character", bytes: "byte"}
_LISTS = (inspect.ListType, inspect.VarTupleType)


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


def reference(kind: str, max_length: int = 100) -> msgspec.Meta:
    """Constraints for a text that names an object: its ID, its name or a tag. The handler receives
    the ID. kind: of the object (`fields.Kind`).
    """
    return msgspec.Meta(
        min_length=1,
        max_length=max_length,
        extra={"text": TextClass.NAME, "reference": kind},
        extra_json_schema={"x-reference": kind},
    )


def published(pattern: str) -> str:
    """Converts a pattern from `matching` to an ECMA-262 regular expression, which has no `\\Z`."""
    return pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body. Raises BadRequest with the location of the problem and a fix."""
    try:
        result: T = _decoder(kind).decode(body)  # type: ignore[arg-type]  # types are hashable
    except msgspec.ValidationError:
        problems = _problems(_json_value(body), kind, "body", strict=True)
        raise _error(problems or [Problem("body", "has a number that is out of range")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _not_json(exc) from None
    if b"\\u0000" in body or _has_checks(kind):  # type: ignore[arg-type]  # types are hashable
        value = _json_value(body)
        nul = [
            Problem(place, "contains a NUL character", "remove that character")
            for place, text in (strings(value, "body") if b"\\u0000" in body else ())
            if "\0" in text  # which PostgreSQL cannot store
        ]
        if problems := [*nul, *_problems(value, kind, "body")]:
            raise _error(problems)
    return result


def validate(value: object, kind: type[T], location: str, *, strict: bool = True) -> T:
    """Converts a JSON value. strict: numbers and booleans are not text. Raises BadRequest."""
    try:
        result = msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        raise _error(_problems(value, kind, location, strict=strict)) from None
    except UnicodeEncodeError:
        raise invalid(location, "contains an unpaired surrogate", "remove it") from None
    if _has_checks(kind) and (problems := _problems(value, kind, location)):  # type: ignore[arg-type]  # types are hashable
        raise _error(problems)
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
    return BadRequest(errors=(Problem(location, message, fix),))


def json_value(body: bytes) -> Any:
    """The JSON value of a body, or None if it cannot be parsed."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _json_value(body: bytes) -> Any:
    """The value of a body. The decoder of a type can stop before malformed JSON."""
    try:
        try:
            return msgspec.json.decode(body)
        except msgspec.ValidationError:  # a number is out of range, which is infinity here
            return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise _not_json(exc) from None


def _not_json(exc: Exception) -> BadRequest:
    reason = str(exc) if isinstance(exc, msgspec.DecodeError) else type(exc).__name__
    return invalid("body", "is not valid JSON", f"send JSON in UTF-8: {reason}")


def _error(problems: list[Problem]) -> BadRequest:
    return BadRequest(errors=tuple(problems))


def _problems(value: Any, kind: Any, location: str, *, strict: bool | None = None) -> list[Problem]:
    found = _flaws(value, _type_info(kind), location, strict)
    return list(islice(found, PROBLEMS_MAX))


def _flaws(
    value: Any, info: inspect.Type, location: str, strict: bool | None, form: str = ""
) -> Iterator[Problem]:
    """The problems of a JSON value of this type. strict: None for a value that has the type, of
    which only the functions of `checked` are called. form: of a pattern.
    """
    match info:
        case inspect.Metadata():
            extra = info.extra or {}
            flaws = [*_flaws(value, info.type, location, strict, extra.get("form", form))]
            yield from flaws
            check: Check | None = extra.get("check")
            if check and not flaws and value is not None and (message := check(value)):
                yield Problem(location, message)
        case inspect.UnionType(types=types):
            kinds = [each for each in types if not isinstance(each, inspect.NoneType)]
            if value is not None or len(kinds) == len(types):
                found = [[*_flaws(value, each, location, strict, form)] for each in kinds]
                yield from min(found, key=len)
        case inspect.StructType():
            yield from _struct_flaws(value, info, location, strict)
        case inspect.ListType() | inspect.VarTupleType():
            if not isinstance(value, list | tuple):
                yield Problem(location, "must be a list")
            elif message := _length_flaw(value, info, "item"):
                yield Problem(location, message)
            else:
                for index, item in enumerate(value):
                    yield from _flaws(item, info.item_type, f"{location}[{index}]", strict)
        case inspect.TupleType(item_types=types):
            if not isinstance(value, list | tuple) or len(value) != len(types):
                yield Problem(location, f"must be a list of {len(types)} items")
            else:
                for index, (item, each) in enumerate(zip(value, types, strict=True)):
                    yield from _flaws(item, each, f"{location}[{index}]", strict)
        case inspect.DictType():
            if not isinstance(value, dict):
                yield Problem(location, "must be an object")
            elif message := _length_flaw(value, info, "field"):
                yield Problem(location, message)
            else:
                for name, item in value.items():
                    place = f"{location}.{name[:NAME_CHARS_MAX]}"
                    for flaw in _flaws(name, info.key_type, place, strict):
                        yield Problem(place, f"has a name that {flaw.message}")
                    yield from _flaws(item, info.value_type, place, strict)
        case inspect.LiteralType(values=values):
            if not any(value == each and type(value) is type(each) for each in values):
                yield Problem(location, f"must be {_listed(values)}")
        case inspect.EnumType(cls=members):
            names = [member.value for member in members]
            if value not in names:
                yield Problem(location, f"must be {_listed(names)}")
        case _ if strict is not None and type(info) in _TYPES:
            if message := _value_flaw(value, info, location, strict, form):
                yield Problem(location, message)


def _struct_flaws(
    value: Any, info: inspect.StructType, location: str, strict: bool | None
) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(location, "must be an object")
        return
    flaws = list[Problem]()
    fields = {field.encode_name: field for field in info.fields}
    for name, field in fields.items():
        if name in value:
            flaws += _flaws(value[name], field.type, f"{location}.{name}", strict)
        elif field.required:
            flaws.append(Problem(f"{location}.{name}", "is missing"))
    if info.forbid_unknown_fields:
        fix = f"remove it, or send one of {', '.join(sorted(fields))}"
        flaws += [
            Problem(f"{location}.{name[:NAME_CHARS_MAX]}", "is not a known field", fix)
            for name in value
            if name not in fields
        ]
    if not flaws and strict is not None:
        try:
            msgspec.convert(value, info.cls, strict=strict)
        except msgspec.ValidationError as exc:
            is_own = exc.__cause__ is not None  # raised by a `__post_init__`
            flaws.append(Problem(location, str(exc) if is_own else "is not valid"))
    yield from flaws


def _value_flaw(value: Any, info: Any, location: str, strict: bool, form: str) -> str:
    """The problem of a number, a text, a Boolean or bytes."""
    kind, noun = _TYPES[type(info)]
    is_int = isinstance(value, int) and kind is int and not isinstance(value, bool)
    try:
        # An integer can have more than 64 bits.
        value = value if is_int else msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return f"must be {noun}"
    if kind in (int, float):
        return _bound_flaw(value, info, location)
    if getattr(info, "pattern", None) and not re.search(info.pattern, value):
        return f"must be {form}"
    return "" if kind is bool else _length_flaw(value, info, _UNITS[kind])


def _bound_flaw(value: float, info: Any, location: str) -> str:
    end = location.rpartition("_")[2]
    for bound, is_kept, text in (
        (info.ge, operator.ge, "at least"),
        (info.gt, operator.gt, "more than"),
        (info.le, operator.le, "at most"),
        (info.lt, operator.lt, "less than"),
    ):
        if bound is not None and not is_kept(value, bound):
            return f"must be {text} {f'{bound} seconds{_duration(bound)}' if end == 's' else bound}"
    return ""


def _duration(seconds: float) -> str:
    text = duration(int(seconds))
    return "" if text.endswith("s") else f" ({text})"


def _length_flaw(value: Any, info: Any, noun: str) -> str:
    """The problem of the number of characters, bytes, items or fields."""
    size, least, most = len(value), info.min_length or 0, info.max_length
    if size < least:
        return "must not be empty" if least == 1 else f"must have at least {count(least, noun)}"
    return "" if most is None or size <= most else f"must have at most {count(most, noun)}"


def _listed(values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    return f"{'one of ' if texts[1:] else ''}{', '.join(texts)}"


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


@cache
def references(kind: Any) -> dict[str, Any]:
    """The fields of a struct that are references, with their kinds."""
    return {
        field.name: part.extra["reference"]
        for field in msgspec.structs.fields(kind)
        for part in parts(inspect.type_info(field.type))
        if isinstance(part, inspect.Metadata) and part.extra and "reference" in part.extra
    }


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
