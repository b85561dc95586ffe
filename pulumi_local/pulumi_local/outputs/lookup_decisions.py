"""The results of lookups in a program: values that it can read, compare and convert like those of
AWS, and from which every derived text is recognized as invented.

A decision on such a value, such as a comparison, is recorded, because another value leads to other
resources. A conversion to a number is an error that says how to supply the result.
"""

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pulumi.runtime import rpc

from pulumi_local.lists import name_set
from pulumi_local.outputs.invented import FLAG, MAP, MARKER, NUMBER, is_invented
from pulumi_local.source_lines import source_line
from pulumi_local.types import UNKNOWN

_ITEMS = 3
"""Elements of an invented list or map, and the value of an invented number."""


class Lookups:
    """The lookups of one run.

    decisions: where the program decides by a value, such as "__main__.py:7: compares the result of
        aws.ssm.get_parameter".
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._calls: dict[str, str] = {}
        self.decisions: dict[str, None] = {}

    def add(self, call: str, result: Any) -> None:
        """Records the call whose result contains the invented texts."""
        if isinstance(result, Mapping):
            for inner in result.values():
                self.add(call, inner)
        elif isinstance(result, list):
            for inner in result:
                self.add(call, inner)
        elif isinstance(result, str) and is_invented(result):
            self._calls.setdefault(result, call)

    def value(self, value: Any) -> Any:
        """A value that the SDK decoded, as the program receives it."""
        if isinstance(value, list) and value and all(map(_is_invented, value)):
            first = next(iter(value[0].values())) if type(value[0]) is dict else value[0]
            return InventedList(value).of(self, first.call)
        if not isinstance(value, str):
            return value
        call = self._calls.get(value, "")
        if value.startswith((FLAG, NUMBER)):
            return InventedNumber(_ITEMS).of(self, call)
        if value.startswith(MAP):
            return invented_object(self, call)
        return InventedText(value).of(self, call) if call else value

    def decide(self, call: str, action: str) -> None:
        """Records a decision of the line of the program that calls a method of a value. Calls by
        libraries are not recorded.
        """
        frame = inspect.currentframe()
        for _ in range(3):  # this function, `_Invented.decide` and the method
            frame = frame.f_back if frame else None
        line = source_line(frame.f_code.co_filename, frame.f_lineno, self._root) if frame else ""
        if call and line:
            self.decisions[f"{line}: {action} {call}"] = None


def _is_invented(value: Any) -> bool:
    if type(value) is dict:
        return bool(value) and all(map(_is_invented, value.values()))
    return isinstance(value, _Invented)


class _Invented:
    """lookups: None for a value that is copied without them. call: where the value comes from, such
    as "the result of aws.ssm.get_parameter"; "" for an output of a resource of the program.
    """

    lookups: Lookups | None = None
    call = ""

    def of(self, lookups: Lookups | None, call: str) -> Any:
        self.lookups, self.call = lookups, call
        return self

    def derived(self, value: Any) -> Any:
        """A value that a method returns. A text without a marker receives one."""
        if isinstance(value, str):
            marked = is_invented(value) or UNKNOWN in value
            return InventedText(value if marked else f"{MARKER}-{value}").of(
                self.lookups, self.call
            )
        if isinstance(value, list | tuple):
            return type(value)(map(self.derived, value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return InventedNumber(_ITEMS).of(self.lookups, self.call)
        return value

    def decide(self, action: str) -> None:
        if self.lookups is not None:
            self.lookups.decide(self.call, action)


def _decides(original: Callable[..., Any], action: str = "compares") -> Any:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.decide(action)
        return original(self, *args, **kwargs)

    return method


def _derives(original: Callable[..., Any]) -> Any:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        return result if result is NotImplemented else self.derived(result)

    return method


def _fails(kind: str) -> Any:
    def method(self: Any) -> Any:
        self.decide(f"converts to {kind}")
        raise ValueError(
            f"the program converts to {kind} {self.call or 'an output'}, which a check does not "
            f"know"
        )

    return method


_COMPARISONS = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__")
_DECIDING = (*_COMPARISONS, "startswith", "endswith", "find", "rfind", "index", "rindex", "count")
_IS = tuple(name for name in dir(str) if name.startswith("is"))
_DERIVING = tuple(
    name
    for name in dir(str)
    if name.islower() and name[0] != "_" and name not in (*_DECIDING, *_IS, "encode", "maketrans")
)
_OPERATORS = name_set(
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod neg abs"
)
_NUMERIC = tuple(f"__{name}__" for name in _OPERATORS)


class InventedText(_Invented, str):
    """A text that can also be read like a document: every member is invented too."""

    def __hash__(self) -> int:
        self.decide("uses as a key")
        return str.__hash__(self)

    def __getitem__(self, key: Any) -> Any:
        return self.derived(str(self) if isinstance(key, str) else str.__getitem__(self, key))

    def get(self, _key: str, _default: Any = None) -> Any:
        return self.derived(str(self))

    def items(self) -> Any:
        return invented_object(self.lookups, self.call).items()

    def keys(self) -> Any:
        return invented_object(self.lookups, self.call).keys()

    def values(self) -> Any:
        return invented_object(self.lookups, self.call).values()

    def __iter__(self) -> Iterator[Any]:
        return iter([self.derived(f"{MARKER}-{number}") for number in range(_ITEMS)])

    def __bool__(self) -> bool:
        self.decide("tests")
        return True

    __int__, __float__, __index__ = _fails("a number"), _fails("a number"), _fails("a number")
    __add__, __mod__ = _derives(str.__add__), _derives(str.__mod__)


class InventedNumber(_Invented, int):
    """A number or a flag. It is false, as the SDK accepts a false value of any type."""

    __hash__ = int.__hash__

    def __bool__(self) -> bool:
        self.decide("tests")
        return False

    def __str__(self) -> str:
        return f"{NUMBER}"

    __repr__ = __str__

    def __format__(self, _spec: str) -> str:
        return str(self)


class InventedObject(_Invented, dict[str, Any]):
    """A map, or the value of a JSON text: it has every member."""

    __hash__ = None

    def __missing__(self, key: Any) -> Any:
        return self.derived(MARKER)

    def __contains__(self, key: object) -> bool:
        self.decide("compares")
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]

    def pop(self, key: str, *_default: Any) -> Any:
        return self[key]


class InventedList(_Invented, list[Any]):
    """A list of `_ITEMS` elements."""

    __hash__ = None


for _class, _base in ((InventedText, str), (InventedNumber, int), (InventedList, list)):
    for _name in _DECIDING if _class is InventedText else (*_COMPARISONS, "__len__", "__bool__"):
        if hasattr(_base, _name) and _class.__dict__.get(_name) is None:
            setattr(_class, _name, _decides(getattr(_base, _name)))
for _name in _IS:
    setattr(InventedText, _name, _decides(getattr(str, _name)))
for _name in _DERIVING:
    setattr(InventedText, _name, _derives(getattr(str, _name)))
for _name in _NUMERIC:
    setattr(InventedNumber, _name, _derives(getattr(int, _name)))


def invented_object(lookups: Lookups | None, call: str) -> InventedObject:
    found: InventedObject = InventedObject().of(lookups, call)
    found |= {found.derived(f"{MARKER}-{n}"): found.derived(MARKER) for n in range(1, _ITEMS + 1)}
    return found


@contextlib.contextmanager
def lookups_in_program(lookups: Lookups) -> Iterator[None]:
    """Until the end of the block, the SDK passes the results of lookups as these values, and JSON
    and YAML text of a result is a document with every member. The functions of the SDK are private:
    without one, the program receives plain values.
    """

    def decoded(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: lookups.value(original(*args, **kwargs))

    def encoded(original: Callable[..., Any]) -> Callable[..., Any]:
        async def serialize(value: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(value, InventedNumber | InventedObject | InventedList):
                return UNKNOWN
            return await original(value, *args, **kwargs)

        return serialize

    def unchanged(original: Callable[..., Any]) -> Callable[..., Any]:
        def translate(value: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(value, InventedNumber | InventedObject):
                return value
            result = original(value, *args, **kwargs)
            if isinstance(value, InventedList) and isinstance(result, list):
                return InventedList(result).of(value.lookups, value.call)
            return result

        return translate

    def loads(original: Callable[..., Any]) -> Callable[..., Any]:
        def load(text: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(text, InventedText) and str(text).lstrip()[:1] not in ("{", "["):
                return invented_object(text.lookups, text.call)
            try:
                return original(text, *args, **kwargs)
            except ValueError:
                if isinstance(text, str) and is_invented(text):
                    return invented_object(lookups, getattr(text, "call", ""))
                raise

        return load

    def dumps(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda value, *args, **kwargs: original(_plain(value), *args, **kwargs)

    changes = (
        (rpc, "deserialize_property", decoded),
        (rpc, "serialize_property", encoded),
        (rpc, "translate_output_properties", unchanged),
        (json, "loads", loads),
        (yaml, "safe_load", loads),
        (json, "dumps", dumps),
    )
    originals = [(module, name, getattr(module, name, None)) for module, name, _ in changes]
    for (module, name, change), (*_, original) in zip(changes, originals, strict=True):
        if original is not None:
            setattr(module, name, functools.wraps(original)(change(original)))
    try:
        yield
    finally:
        for module, name, original in originals:
            if original is not None:
                setattr(module, name, original)


def _plain(value: Any) -> Any:
    """The value for JSON, in which an invented number is a text."""
    if isinstance(value, InventedNumber):
        return str(value)
    if isinstance(value, dict):
        is_changed = any(map(_has_number, value.values()))
        return {key: _plain(inner) for key, inner in value.items()} if is_changed else value
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value] if any(map(_has_number, value)) else value
    return value


def _has_number(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_number, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_number, value))
    return isinstance(value, InventedNumber)
