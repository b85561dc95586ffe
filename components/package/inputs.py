"""Derives the inputs of a component in the package from the arguments of the component, and the arguments from the inputs."""

import dataclasses
import re
import types
import typing
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

import pulumi
from pydantic import BaseModel, ValidationError

from components.settings.descriptions import field_descriptions
from components.settings.fields import PROD, Section
from components.settings.loader import production_mistakes

Type = Any
"""A type annotation."""

_FIELD = re.compile(r"^(\w+(?:, \w+)*): ")


class PackageError(pulumi.RunError):
    """Inputs of a component are invalid. The message names each input and its allowed values."""


def input_type(annotation: Type) -> Type:
    """Return the type of an input: a TypedDict for a dataclass or a section of the settings, and a list or dict for a collection.

    Values that may be unknown (`pulumi.Input`) keep their type.
    """
    origin, arguments = _parts(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        fields = {name: _of_field(field) for name, field in annotation.model_fields.items()}
        return TypedDict(annotation.__name__, fields)  # type: ignore[operator]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return typed_dict(annotation.__name__, fields_of(annotation))
    if origin is typing.Annotated:
        return input_type(arguments[0])
    if origin is Literal:
        return str
    if origin in (typing.Union, types.UnionType):
        if _accepts_outputs(arguments):
            return annotation
        present = [input_type(item) for item in arguments if item is not type(None)]
        return typing.Optional[present[0]]  # noqa: UP045 - the analyzer of Pulumi reads this form
    if origin in (Sequence, tuple, list):
        return list[input_type(arguments[0])]  # type: ignore[misc]
    if origin in (Mapping, dict):
        return dict[str, input_type(arguments[1])]  # type: ignore[misc]
    return annotation


def typed_dict(name: str, fields: Mapping[str, tuple[Type, bool]]) -> Type:
    """Return a TypedDict. fields: type, and whether the input is required, keyed by name."""
    annotations = {
        key: input_type(kind) if required else NotRequired[input_type(kind)] for key, (kind, required) in fields.items()
    }
    return TypedDict(name, annotations)  # type: ignore[operator]


def fields_of(arguments: type) -> dict[str, tuple[Type, bool]]:
    """The type of each field of a dataclass, and whether the field is required."""
    return {field.name: (field.type, is_required(field, field.type)) for field in dataclasses.fields(arguments)}


def is_required(field: "dataclasses.Field[Any]", kind: Type) -> bool:
    """Whether a field has no default. A section of the settings is optional if each of its settings has a default."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return any(setting.is_required() and not _is_section(setting.annotation) for setting in kind.model_fields.values())
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def descriptions(arguments: type) -> dict[str, str]:
    """The description of each field, from the docstring of a dataclass or the attribute docstrings of a section."""
    if issubclass(arguments, BaseModel):
        return {name: " ".join(text.split()) for name, text in field_descriptions(arguments).items()}
    found: dict[str, str] = {}
    for base in reversed(arguments.__mro__):
        names: list[str] = []
        for line in (base.__doc__ or "").splitlines():
            text = line.strip()
            if match := _FIELD.match(text):
                names = match[1].split(", ")
                found |= dict.fromkeys(names, text[match.end() :])
            elif names and text:
                found |= {name: f"{found[name]} {text}" for name in names}
            else:
                names = []
    return found


def value_of(annotation: Type, value: Any, path: str, environment: str = PROD) -> Any:
    """Return the value of an argument. Sections get the defaults of the environment.

    Raises PackageError for invalid values, and for values of sections and names that are not known before the deployment.
    """
    origin, arguments = _parts(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _section(annotation, value, path, environment)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return annotation(**values_of(annotation, value, f"{path}.", environment))
    if value is None or (origin in (typing.Union, types.UnionType) and _accepts_outputs(arguments)):
        return value
    if isinstance(value, pulumi.Output):
        raise PackageError(f"{path} is an output; allowed: a value that is known before the deployment")
    if origin in (typing.Union, types.UnionType):
        return value_of(next(item for item in arguments if item is not type(None)), value, path, environment)
    if origin in (Sequence, tuple, list):
        return tuple(value_of(arguments[0], item, f"{path}.{index}", environment) for index, item in enumerate(value))
    if origin in (Mapping, dict):
        return {key: value_of(arguments[1], item, f"{path}.{key}", environment) for key, item in value.items()}
    if origin is Literal and value not in arguments:
        raise PackageError(f"{path} is {value!r}; allowed: {', '.join(arguments)}")
    # Numbers of the wire format are floating-point numbers.
    return int(value) if annotation is int and isinstance(value, float) and value.is_integer() else value


def values_of(arguments: type, values: Mapping[str, Any], prefix: str = "", environment: str = PROD) -> dict[str, Any]:
    """Return the arguments of a dataclass. Arguments without a value are omitted, except sections, which consist of defaults."""
    found = {}
    for name, (kind, required) in fields_of(arguments).items():
        value = values.get(name)
        if value is None and _is_section(kind) and not required:
            value = {}
        if value is not None:
            found[name] = value_of(kind, value, f"{prefix}{name}", environment)
    return found


def _of_field(field: Any) -> Type:
    kind = input_type(field.annotation)
    return kind if field.is_required() and not _is_section(field.annotation) else NotRequired[kind]


def _is_section(kind: Type) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _accepts_outputs(arguments: tuple[Type, ...]) -> bool:
    """True for the arguments of `pulumi.Input`, a union of a value, an Awaitable and an Output."""
    return any(_parts(item)[0] is Awaitable for item in arguments)


def _parts(annotation: Type) -> tuple[Any, tuple[Type, ...]]:
    return typing.get_origin(annotation), typing.get_args(annotation)


def _section(section: type[Section], value: Mapping[str, Any], path: str, environment: str) -> Section:
    known = {name: _integral(item) for name, item in value.items() if item is not None}
    try:
        settings = section.model_validate(known, context={"environment": environment})
    except ValidationError as exc:
        messages = [
            f"{path}.{'.'.join(map(str, error['loc']))} {error.get('ctx', {}).get('error', error['msg'])}"
            for error in exc.errors(include_url=False)
        ]
        raise PackageError("; ".join(messages)) from None
    if (
        mistakes := [f"{key} {message}" for key, message in production_mistakes(settings, f"{path}.")]
        if environment == PROD
        else []
    ):
        raise PackageError("; ".join(mistakes))
    return settings


def _integral(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    return [_integral(item) for item in value] if isinstance(value, list) else value
