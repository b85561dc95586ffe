"""A component's arguments as Pulumi properties, so that policies can read what a component was asked for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def props(args: Any) -> dict[str, Any]:
    """Fields of an Args dataclass under camelCase names, without those that are None. Outputs stay Outputs, nothing is
    copied."""
    return {
        _camel(field.name): _plain(getattr(args, field.name))
        for field in dataclasses.fields(args)
        if getattr(args, field.name) is not None
    }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {_camel(key): _plain(inner) for key, inner in value if inner is not None}
    if dataclasses.is_dataclass(value):
        return props(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
