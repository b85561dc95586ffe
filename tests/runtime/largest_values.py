"""The largest valid value of a type of requests."""

import base64
import ipaddress
import random
from collections.abc import Callable, Iterable, Mapping
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from gatehouse.features.keys import fields as keys
from gatehouse.features.secret_requests import schemas as requests
from gatehouse.features.secrets import schemas as secrets
from gatehouse.platform.web import fields
from gatehouse.platform.web.validation import Check
from msgspec import inspect

#: Repetitions in a pattern without a maximum.
_REPETITIONS_MAX = 50
_random = random.Random(1)

#: Values for the checks that `largest` does not satisfy otherwise.
_CHECKED: Mapping[Check, Callable[[Any], Any]] = {
    fields._timestamp: lambda info: "2030-01-01T00:00:00.000000Z",
    keys._networks: lambda info: [
        str(ipaddress.ip_network((0x20010DB8 << 96 | number << 16, 112)))
        for number in range(info.max_length)
    ],
    keys._contact: lambda info: f"{'a' * 64}@{('b' * 62 + '.') * 3}".removesuffix("."),
    keys._public_key: lambda info: "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
    requests._public_key_problem: lambda info: base64.b64encode(bytes([9] * 32)).decode(),
    secrets._text_size: lambda info: "a" * info.max_length,
}


def largest(kind: Any) -> Any:
    """The value as JSON. Raises AssertionError for a type of which no value is known."""
    return _largest(inspect.type_info(kind))


def _largest(info: inspect.Type) -> Any:
    match info:
        case inspect.Metadata(type=inner, extra=extra):
            check = (extra or {}).get("check")
            known = None if check is None else _CHECKED.get(check)
            value = _largest(inner) if known is None else known(inner)
            assert check is None or check(value) == "", f"add a value for {check}"
            return value
        case inspect.UnionType(types=types):
            return _largest(next(each for each in types if not isinstance(each, _WITHOUT_VALUE)))
        case inspect.StrType():
            return _text(info)
        case inspect.BytesType(max_length=int(size)):
            return base64.b64encode(bytes(size)).decode()
        case inspect.IntType(le=int(value)):
            return value
        case inspect.BoolType():
            return True
        case inspect.LiteralType(values=values):
            return max(map(str, values), key=len)
        case inspect.EnumType(cls=kind):
            return max((member.value for member in kind), key=len)
        case inspect.ListType() | inspect.VarTupleType():
            assert info.max_length is not None, "declare the maximum number of items"
            return _distinct(info.item_type, info.max_length)
        case inspect.TupleType(item_types=types):
            return [_largest(each) for each in types]
        case inspect.DictType():
            assert info.max_length is not None, "declare the maximum number of entries"
            names = _distinct(info.key_type, info.max_length)
            return {name: _largest(info.value_type) for name in names}
        case inspect.StructType():
            return {field.encode_name: _largest(field.type) for field in info.fields}
    raise AssertionError(f"declare the maximum of {info}")


_WITHOUT_VALUE = (inspect.NoneType,)


def _distinct(info: inspect.Type, count: int) -> list[Any]:
    plain = info.type if isinstance(info, inspect.Metadata) else info
    if isinstance(plain, inspect.LiteralType):
        return list(plain.values)[:count]
    if isinstance(plain, inspect.EnumType):
        return [member.value for member in plain.cls][:count]
    return [_largest(info) for _ in range(count)]


def _text(info: inspect.StrType) -> str:
    assert info.max_length or info.pattern, "declare the maximum length"
    if not info.pattern:
        size = info.max_length or 0
        return str(_random.randrange(10**6)).rjust(6, "0")[:size].ljust(size, "é")
    return _sample(_parser.parse(info.pattern))[: info.max_length]


def _sample(nodes: Iterable[Any]) -> str:
    return "".join(_node(str(operation), argument) for operation, argument in nodes)


def _node(operation: str, argument: Any) -> str:
    match operation:
        case "LITERAL":
            return chr(argument)
        case "IN":
            kind, value = _random.choice(argument)
            return chr(_random.randint(*value) if str(kind) == "RANGE" else value)
        case "BRANCH":
            return max((_sample(branch) for branch in argument[1]), key=len)
        case "SUBPATTERN":
            return _sample(argument[3])
        case "MAX_REPEAT":
            return "".join(
                _sample(argument[2]) for _ in range(min(int(argument[1]), _REPETITIONS_MAX * 2))
            )
        case "AT":
            return ""
    raise AssertionError(f"add {operation}")
