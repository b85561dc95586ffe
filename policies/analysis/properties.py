"""Reads resource properties for the rules: known, absent, null, unknown and malformed are five different things;
touches nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pulumi_policy.proxy import (
    UNKNOWN_ARCHIVE_VALUE,
    UNKNOWN_ARRAY_VALUE,
    UNKNOWN_ASSET_VALUE,
    UNKNOWN_BOOLEAN_VALUE,
    UNKNOWN_NUMBER_VALUE,
    UNKNOWN_OBJECT_VALUE,
    UNKNOWN_STRING_VALUE,
    UnknownValueError,
)

# What stands on the wire for "not known before the deployment"; the SDK keeps the list but exports no test for it.
UNKNOWNS = frozenset(
    {
        UNKNOWN_ARCHIVE_VALUE,
        UNKNOWN_ARRAY_VALUE,
        UNKNOWN_ASSET_VALUE,
        UNKNOWN_BOOLEAN_VALUE,
        UNKNOWN_NUMBER_VALUE,
        UNKNOWN_OBJECT_VALUE,
        UNKNOWN_STRING_VALUE,
    }
)

# The provider's Check notes here which nested values it filled in; it is bookkeeping, no property.
_BOOKKEEPING = "__defaults"


class MalformedError(Exception):
    """A property has a shape that AWS could never accept. Names the path and the kinds, never the value."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"{path} must be {expected}, found {found}")


def plain(value: Any) -> tuple[Any, tuple[str, ...]]:
    """Converts the SDK's proxies to dicts, lists and scalars.

    Returns the plain value, in which an unknown stays its wire marker, and the paths of all unknowns, such as
    `rules[0].kmsMasterKeyId`. The proxies are neither dict nor list, compare unequal to both, raise on `in`, and let
    unknowns slip through slices: no rule should ever meet one.
    """
    unknown: list[str] = []
    return _plain(value, "", unknown), tuple(unknown)


def _plain(value: Any, path: str, unknown: list[str]) -> Any:
    if is_unknown(value):
        unknown.append(path)
        return value
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        target = _target(value)
        return {
            key: _plain(inner, f"{path}.{key}" if path else str(key), unknown)
            for key, inner in target.items()
            if key != _BOOKKEEPING
        }
    if isinstance(value, Sequence):
        return [_plain(inner, f"{path}[{at}]", unknown) for at, inner in enumerate(_target(value))]
    return value


def _target(value: Any) -> Any:
    """The proxies answer the magic key with what they wrap; indexing them any other way raises on an unknown."""
    return value if isinstance(value, dict | list | tuple) else value["__target"]


def is_unknown(value: Any) -> bool:
    """True for the wire marker of a value that is only known after the deployment."""
    return isinstance(value, str) and value in UNKNOWNS


class Props:
    """Properties of a resource or of a block inside one, read with the type that the rule needs.

    Every reader treats null as absent, raises UnknownValueError (the SDK's) for an unknown value, and MalformedError
    for a value of the wrong kind. `path` names where in the resource this block sits.
    """

    __slots__ = ("_value", "path")

    def __init__(self, value: Any, path: str = "") -> None:
        self._value = value
        self.path = path

    def at(self, key: str) -> str:
        """The path of a property of this block, for messages."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """True when the program sets the property, even to a value that is not known yet."""
        value = self._mapping().get(key)
        return value is not None and value != "" and value != []

    def names(self) -> tuple[str, ...]:
        """The names of the properties that are set, in the program's order."""
        return tuple(key for key, value in self._mapping().items() if value is not None)

    def value(self, key: str) -> Any:
        """The plain value, None when absent. For the few properties with several legal shapes."""
        value = self._mapping().get(key)
        _demand_known(value, self.at(key))
        return value

    def known(self, key: str) -> bool:
        """True when the property is set and its value is known."""
        value = self._mapping().get(key)
        return value is not None and not is_unknown(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean; the strings "true" and "false" count, as they do for the provider."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise MalformedError(self.at(key), "true or false", _kind(value))

    def text(self, key: str, default: str = "") -> str:
        """A string; a number is written out, since the provider does that too."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:g}"
        raise MalformedError(self.at(key), "a string", _kind(value))

    def number(self, key: str, default: float = 0) -> float:
        """A number; a string of digits counts, as it does for the provider."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                pass
        raise MalformedError(self.at(key), "a number", _kind(value))

    def texts(self, key: str) -> list[str]:
        """A list of strings, empty when absent."""
        block = Props(self.value(key), self.at(key))
        return [block.element(at) for at in range(len(block.elements()))]

    def block(self, key: str) -> "Props":
        """An object, empty when absent. A list of one is the same thing in older providers."""
        value = self.value(key)
        if isinstance(value, list) and len(value) <= 1:
            value = value[0] if value else None
        return Props({} if value is None else value, self.at(key))

    def blocks(self, key: str) -> list["Props"]:
        """A list of objects, empty when absent. A single object is a list of one, which it was in older providers."""
        value = self.value(key)
        if value is None:
            return []
        if isinstance(value, dict):
            return [Props(value, self.at(key))]
        path = self.at(key)
        return [Props(inner, f"{path}[{at}]") for at, inner in enumerate(Props(value, path).elements())]

    def size(self, key: str) -> int:
        """The number of elements of a list, known or not; 0 when absent. Raises for a list that is unknown as a
        whole.
        """
        return len(Props(self.value(key), self.at(key)).elements())

    def decoded(self, key: str) -> "Props":
        """An object or list that providers take as JSON text in their own configuration, such as defaultTags."""
        value = self.value(key)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise MalformedError(self.at(key), "JSON", "text that is not JSON") from None
        return Props({key: value}, self.path)

    def json_blocks(self, key: str) -> list["Props"]:
        """A list of objects that the provider takes as one JSON string, such as ECS container definitions."""
        value = self.value(key)
        path = self.at(key)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise MalformedError(path, "a JSON list of objects", "text that is not JSON") from None
        return Props({path: value}).blocks(path) if value is not None else []

    def elements(self) -> list[Any]:
        """The values of a list that is held as a block; unknown elements are left in."""
        if self._value is None:
            return []
        if not isinstance(self._value, list):
            raise MalformedError(self.path, "a list", _kind(self._value))
        return self._value

    def element(self, at: int) -> str:
        """One string of a list that is held as a block."""
        value = self.elements()[at]
        path = f"{self.path}[{at}]"
        _demand_known(value, path)
        if not isinstance(value, str):
            raise MalformedError(path, "a string", _kind(value))
        return value

    def _mapping(self) -> Mapping[str, Any]:
        _demand_known(self._value, self.path)
        if not isinstance(self._value, Mapping):
            raise MalformedError(self.path or "the resource", "an object", _kind(self._value))
        return self._value


def _demand_known(value: Any, path: str) -> None:
    if is_unknown(value):
        raise UnknownValueError(value, [path])


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, Mapping) else f"a value of type {type(value).__name__}"
