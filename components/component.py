"""Helpers that every component uses: its inputs as Pulumi properties, and outputs that wait for other resources."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi
from pydantic import BaseModel


def component_inputs(args: Any) -> dict[str, Any]:
    """Fields of an Args dataclass under camelCase names, without those that are None, so that policies can read them.

    Outputs stay Outputs; nothing is copied.
    """
    return {
        _camel_case(field.name): _property(getattr(args, field.name))
        for field in dataclasses.fields(args)
        if getattr(args, field.name) is not None
    }


def with_dependencies(value: pulumi.Output[str], *dependencies: pulumi.Output[Any]) -> pulumi.Output[str]:
    """`value` as an output that also depends on the resources behind `dependencies`."""
    return pulumi.Output.all(value, *dependencies).apply(lambda values: str(values[0]))


def _property(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {_camel_case(key): _property(inner) for key, inner in value if inner is not None}
    if dataclasses.is_dataclass(value):
        return component_inputs(value)
    if isinstance(value, Mapping):
        return {str(key): _property(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_property(item) for item in value]
    return value


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
