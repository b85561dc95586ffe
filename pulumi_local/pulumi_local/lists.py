"""Lists of names, of elements, and of the scalars of a value."""

from collections.abc import Iterator, Mapping
from typing import Any


def name_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The path and value of each scalar at any depth of a value, including unknown values."""
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, list):
            pending += reversed([(f"{path}[{i}]", element) for i, element in enumerate(value)])
        elif isinstance(value, Mapping):
            pending += reversed([(f"{path}.{key}", inner) for key, inner in value.items()])
        else:
            yield path, value
