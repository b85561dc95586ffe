"""Inputs and outputs of resource types, read from the classes of the installed providers."""

import functools
import importlib
import json
import keyword
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pulumi

from pulumi_local.types import UNKNOWN


@dataclass(frozen=True)
class Property:
    """One output property: its Python type, whether it can be unset, and its description."""

    type: Any
    optional: bool
    description: str = ""


@dataclass(frozen=True)
class Schema:
    """One resource class, with camelCase names."""

    token: str
    inputs: frozenset[str]
    outputs: dict[str, Property]

    @property
    def taggable(self) -> bool:
        """True if the type has `tagsAll`, the tags merged with the default tags of the provider."""
        return "tagsAll" in self.outputs


@functools.cache
def schema(token: str) -> Schema | None:
    """The schema of a type token such as `aws:s3/bucket:Bucket`; None if pulumi-aws does not have
    the type.
    """
    package, _, rest = token.partition(":")
    path, _, name = rest.partition(":")
    if package != "aws" or path.partition("/")[2] != f"{name[:1].lower()}{name[1:]}":
        return None
    module = provider_module(package, path)
    resource_class = getattr(module, name, None)
    if not (isinstance(resource_class, type) and issubclass(resource_class, pulumi.Resource)):
        return None
    arguments = getattr(module, f"{name}Args", None)
    inputs = frozenset(_getters(arguments)) if arguments is not None else frozenset[str]()
    return Schema(token, inputs, properties(getattr(module, name)))


def with_json_text(token: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with JSON text instead of an object in each property that is text. Providers
    accept documents in both forms. A document with an unknown part is unknown.
    """
    known = schema(token)
    outputs = known.outputs if known is not None else {}
    return {
        key: _json_text(value)
        if isinstance(value, Mapping) and key in outputs and outputs[key].type is str
        else value
        for key, value in inputs.items()
    }


def _json_text(document: Mapping[str, Any]) -> str:
    text = json.dumps(document)
    return UNKNOWN if UNKNOWN in text else text


def provider_module(package: str, path: str) -> ModuleType | None:
    """The Python module of the path in a token, such as "s3/bucket" or "index/getRegion"; None if
    the package is not installed or has no such module.
    """
    library, name = f"pulumi_{package.replace('-', '_')}", path.partition("/")[0]
    if keyword.iskeyword(name):
        name += "_"  # pulumi_aws.lambda_
    try:
        return importlib.import_module(library if name in ("", "index") else f"{library}.{name}")
    except ImportError:
        return None


@functools.cache
def properties(generated: type) -> dict[str, Property]:
    """The properties of a class that was generated from a provider's schema, keyed by camelCase
    name.
    """
    return {
        name: _property(typing.get_type_hints(getter).get("return", Any), getter.__doc__ or "")
        for name, getter in _getters(generated).items()
    }


def _getters(generated: type) -> dict[str, Any]:
    return {
        camel(name): value.fget
        for name, value in vars(generated).items()
        if isinstance(value, property)
    }


def camel(name: str) -> str:
    """The name of a Python property in the schema: `bucket_name` is `bucketName`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _property(hint: Any, description: str) -> Property:
    if typing.get_origin(hint) is pulumi.Output:
        (hint,) = typing.get_args(hint)
    members = typing.get_args(hint)
    optional = type(None) in members
    type_ = members[0] if optional and len(members) == 2 else hint
    return Property(type_, optional, description)
