"""Typed access to resource properties, which may be set, absent, null, unknown or malformed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import yaml
from pulumi_local.lists import leaves, name_set
from pulumi_local.types import ELSEWHERE, UNKNOWN

# The markers of booleans, numbers, arrays, assets, archives and objects, in the protocol of the
# engine (sdk/go/common/resource/plugin/rpc.go of pulumi/pulumi).
_UNKNOWNS = name_set(
    f"{UNKNOWN} 1c4a061d-8072-4f0a-a4cb-0ff528b18fe7 3eeb2bf0-c639-47a8-9e75-3b44932eb421 "
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2 030794c1-ac77-496b-92df-f27374a8bd58 "
    f"e48ece36-62e2-4504-bad9-02848725956a {ELSEWHERE}"
)

# The provider's Check method adds this key to record which nested defaults the provider set.
_PROVIDER_DEFAULTS = "__defaults"


ELEMENTS = ("", "*", "arn:aws:iam::000000000000:role/unknown")
"""Examples of an unknown element of a list."""
_Assumptions = Mapping[tuple[int, str | int], tuple[Any, Any]]
_ASSUMED: ContextVar[_Assumptions] = ContextVar("assumed", default=MappingProxyType({}))


_Reads = dict[tuple[int, str], tuple[Any, Any]]
_READS: ContextVar[_Reads | None] = ContextVar("reads", default=None)


@contextmanager
def recorded_reads() -> Iterator[_Reads]:
    """Until the end of the block, what rules read: the properties of the resource and the value,
    by the ID of these properties and the path of the value.
    """
    reads: _Reads = {}
    token = _READS.set(reads)
    try:
        yield reads
    finally:
        _READS.reset(token)


def are_reads_recorded() -> bool:
    return _READS.get() is not None


IS_SET = object()
"""The recorded value of a property of which a rule only reads whether it is set."""


class UnknownPropertyError(Exception):
    """A property is unknown.

    container, key: the place of the value, for `assume`.
    candidates: values that the property could have: both values of a flag, or examples of an
        element of a list. Empty for texts, numbers and documents, of which examples say nothing
        about the actual value.
    """

    def __init__(
        self,
        path: str,
        container: Any = None,
        key: str | int = "",
        candidates: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(path)
        self.path = path
        self.candidates = candidates
        self._place = (id(container), key)
        self._container = container

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2].partition("[")[0]

    @contextmanager
    def assume(self, candidate: Any) -> Iterator[None]:
        """Until the end of the block, readers return this value for the property."""
        # The entry keeps the container, because Python may reuse the ID of a deleted one.
        token = _ASSUMED.set({**_ASSUMED.get(), self._place: (candidate, self._container)})
        try:
            yield
        finally:
            _ASSUMED.reset(token)


class MalformedError(Exception):
    """A property has a type that AWS does not accept. The message contains the path and the types,
    never the value.
    """

    def __init__(self, path: str, expected: str, actual: str) -> None:
        super().__init__(f"{path} must be {expected}, not {actual}")


class DuplicateKeyError(ValueError):
    """An object in a JSON document contains the same key twice. Readers differ in which value they
    use.
    """


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` of `json.loads` that raises DuplicateKeyError if an object contains
    the same key twice.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        raise DuplicateKeyError
    return value


class AnyCase(dict[str, Any]):
    """An object whose keys have any case, as in JSON text that the provider decodes. Its own keys
    are in lowercase.
    """

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.casefold(), default)

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> "AnyCase":
        """Like `unique_keys`. Keys that differ in case only are the same."""
        return cls(unique_keys([(key.casefold(), value) for key, value in pairs]))


def plain(value: Any) -> Any:
    """Converts the SDK's proxies to dicts, lists and scalars. Unknown values stay wire markers.

    Rules must not receive proxies, which are neither dict nor list, compare unequal to both, raise
    on `in`, and do not detect unknown values in slices.
    """
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        target = _target(value)
        members = (
            ((key, _member(value, key)) for key in value) if target is None else target.items()
        )
        return {key: plain(inner) for key, inner in members if key != _PROVIDER_DEFAULTS}
    if isinstance(value, Sequence):
        target = _target(value)
        return [
            plain(inner)
            for inner in (
                (_member(value, index) for index in range(len(value))) if target is None else target
            )
        ]
    return value


def _target(value: Any) -> Any:
    """The value that a proxy wraps. `__target` is private in the SDK: None without it."""
    try:
        return value if isinstance(value, dict | list | tuple) else value["__target"]
    except (KeyError, TypeError):
        return None


def _member(value: Any, key: Any) -> Any:
    """A member of a proxy, which raises an error of the SDK if the member is unknown."""
    try:
        return value[key]
    except Exception:
        return UNKNOWN


def is_unknown(value: Any) -> bool:
    """True for the wire marker of a value that is unknown until the deployment."""
    return isinstance(value, str) and value in _UNKNOWNS


class Properties:
    """Properties of a resource or of a nested block.

    All readers treat null as absent. The readers raise UnknownPropertyError for an
    unknown value and MalformedError for a value of the wrong type. path: location of the block in
    the resource.
    """

    __slots__ = ("_root", "_value", "path")

    def __init__(self, value: Any, path: str = "", root: Any = None) -> None:
        """root: the properties of the resource, of which this is a part."""
        self._value = value
        self._root = value if root is None else root
        self.path = path

    def located(self, path: str) -> "Properties":
        return Properties(self._value, path, self._root)

    @property
    def root(self) -> Any:
        return self._root

    def record(self, path: str, value: Any) -> None:
        """Record that a rule reads a value, in `recorded_reads`."""
        reads = _READS.get()
        if reads is not None:
            key = (id(self._root), path)
            if value is not IS_SET or key not in reads:
                reads[key] = (self._root, value)

    def path_of(self, key: str) -> str:
        """Path of a property of this block, for messages."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """True if the program sets the property, including to an unknown value."""
        value = self._mapping().get(key)
        is_set = value is not None and value != "" and value != []
        self.record(self.path_of(key), IS_SET if is_set else None)
        return is_set

    def is_customer_key(self, key: str) -> bool:
        """True if the property names a KMS key, unless it is known to be an AWS managed key."""
        return self.has(key) and "alias/aws/" not in self.known_text(key)

    def names(self) -> tuple[str, ...]:
        names = tuple(key for key, value in self._mapping().items() if value is not None)
        for key in names if _READS.get() is not None and self.path else ():
            self.record(self.path_of(key), IS_SET)
        return names

    def plain(self) -> Any:
        return self._value

    def value(self, key: str) -> Any:
        """The plain value, None if absent. For properties with more than one valid type."""
        return self._read(key)

    def known(self, key: str) -> bool:
        value = self._mapping().get(key)
        is_known = value is not None and not is_unknown(value)
        self.record(self.path_of(key), IS_SET if is_known else value)
        return is_known

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean, or the string "true" or "false", which the provider also accepts."""
        value = self._read(key, (True, False))
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise MalformedError(self.path_of(key), "true or false", _type_name(value))

    def text(self, key: str, default: str = "") -> str:
        """A string. A number is converted, as the provider does."""
        return self._text(key, self._read(key), default)

    def _text(self, key: str, value: Any, default: str = "") -> str:
        if value is None:
            return default
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:g}"
        raise MalformedError(self.path_of(key), "a string", _type_name(value))

    def number(self, key: str, default: float = 0) -> float:
        """A number. A numeric string is converted, as the provider does."""
        value = self._read(key)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                pass
        raise MalformedError(self.path_of(key), "a number", _type_name(value))

    def texts(self, key: str) -> list[str]:
        path = self.path_of(key)
        strings = []
        elements = self._elements(key)
        for index in range(len(elements)):
            value = known_value(elements, index, f"{path}[{index}]", elements[index], ELEMENTS)
            if not isinstance(value, str):
                raise MalformedError(f"{path}[{index}]", "a string", _type_name(value))
            strings.append(value)
        return strings

    def known_text(self, key: str) -> str:
        return self.text(key) if self.known(key) else ""

    def name_values(self, key: str) -> dict[str, str]:
        """A list of objects with a name and a value, such as the parameters of a database."""
        return {block.text("name"): block.text("value") for block in self.blocks(key)}

    def block(self, key: str) -> "Properties":
        """A nested object, empty if absent. A list of one object is equivalent in older
        providers.
        """
        value = self._container(key)
        if isinstance(value, list) and len(value) <= 1:
            value = value[0] if value else None
        return Properties({} if value is None else value, self.path_of(key), self._root)

    def blocks(self, key: str) -> list["Properties"]:
        """A list of objects, empty if absent. A single object is equivalent in older providers."""
        path = self.path_of(key)
        value = self._container(key)
        if isinstance(value, dict):
            return [Properties(value, path, self._root)]
        return [
            Properties(element, f"{path}[{index}]", self._root)
            for index, element in enumerate(self._list(key, value))
        ]

    def size(self, key: str) -> int:
        """Number of elements in a list, including unknown elements; 0 if absent."""
        return len(self._elements(key))

    def decoded(
        self, key: str, members: Callable[[list[tuple[str, Any]]], Any] = unique_keys
    ) -> "Properties":
        """A block whose only property, `key`, is decoded from JSON text, such as a provider's
        defaultTags.
        """
        value = self._container(key)
        try:
            if isinstance(value, str):
                value = json.loads(value, object_pairs_hook=members)
        except DuplicateKeyError:
            raise MalformedError(
                self.path_of(key), "JSON", "text that contains the same key of an object twice"
            ) from None
        except ValueError:
            raise MalformedError(self.path_of(key), "JSON", "text that is not JSON") from None
        return Properties({key: value}, self.path, self._root)

    def document(self, key: str) -> "Properties":
        text = self._text(key, self._container(key))
        if text.lstrip()[:1] in ("", "{"):
            return self.decoded(key).block(key) if text else Properties({}, key, self._root)
        try:
            return Properties(yaml.safe_load(text), self.path_of(key), self._root)
        except yaml.YAMLError:
            raise MalformedError(self.path_of(key), "JSON or YAML", "other text") from None

    def json_blocks(self, key: str) -> list["Properties"]:
        """A list of objects that the provider accepts as JSON text, such as ECS container
        definitions.
        """
        return self.decoded(key, AnyCase.of).blocks(key)

    def _elements(self, key: str) -> list[Any]:
        return self._list(key, self.value(key))

    def _list(self, key: str, value: Any) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise MalformedError(self.path_of(key), "a list", _type_name(value))
        return value

    def _read(self, key: str, candidates: tuple[Any, ...] = ()) -> Any:
        if _READS.get() is not None:
            self.record(self.path_of(key), self._mapping().get(key))
        return self._container(key, candidates)

    def _container(self, key: str, candidates: tuple[Any, ...] = ()) -> Any:
        """As `_read`. What a rule reads of a block or list is recorded when it reads that."""
        mapping = self._mapping()
        return known_value(mapping, key, self.path_of(key), mapping.get(key), candidates)

    def _mapping(self) -> Mapping[str, Any]:
        if isinstance(self._value, Mapping):
            return self._value
        if is_unknown(self._value):
            raise UnknownPropertyError(self.path)
        raise MalformedError(self.path or "the resource", "an object", _type_name(self._value))


def contents(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """As `leaves`, also of JSON text and OpenAPI documents, but a policy document is one value."""
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        decoded = json_value(value) if isinstance(value, str) else value
        if isinstance(decoded, list):
            pending += reversed([(f"{path}[{i}]", element) for i, element in enumerate(decoded)])
        elif isinstance(decoded, Mapping) and not is_policy(decoded):
            pending += reversed([(f"{path}.{key}", inner) for key, inner in decoded.items()])
        else:
            yield path, value


def is_policy(value: Any) -> bool:
    """True for a policy document of IAM, as an object or as text."""
    decoded = json_value(value) if isinstance(value, str) else value
    statements = decoded.get("Statement") if isinstance(decoded, Mapping) else None
    listed = statements if isinstance(statements, list) else [statements]
    return any(isinstance(each, Mapping) and "Effect" in each for each in listed)


@lru_cache(maxsize=4096)
def json_value(text: str) -> Any:
    """The value of JSON text, and of an OpenAPI document in YAML; other text unchanged. The same
    object for the same text, which must not be modified.
    """
    try:
        if text.lstrip()[:1] in ("{", "["):
            return json.loads(text)
        return yaml.safe_load(text) if "x-amazon-apigateway-policy" in text else text
    except (ValueError, yaml.YAMLError):
        return text


def texts_of(block: Properties, key: str) -> Iterator[tuple[str, str]]:
    value = block.value(key) if block.known(key) else None
    for path, leaf in leaves(value, block.path_of(key)):
        if isinstance(leaf, str) and not is_unknown(leaf):
            yield path, leaf


def known_value(
    container: Any, key: str | int, path: str, value: Any, candidates: tuple[Any, ...]
) -> Any:
    """The value, or the assumed value of an unknown property. Raises UnknownPropertyError.

    container, key: the place of the value, the same in each evaluation.
    """
    if not is_unknown(value):
        return value
    assumed = _ASSUMED.get().get((id(container), key))
    if assumed is None or not candidates:
        raise UnknownPropertyError(path, container, key, candidates)
    return assumed[0]


_TYPE_NAMES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def _type_name(value: Any) -> str:
    return (
        "null"
        if value is None
        else _TYPE_NAMES.get(type(value), f"a value of type {type(value).__name__}")
    )
