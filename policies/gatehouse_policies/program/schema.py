"""Inputs and outputs of resource types, read from the installed pulumi-aws classes."""

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import pulumi_aws  # noqa: F401  (registers every module with the runtime)
from pulumi import _types
from pulumi.runtime import rpc


@dataclass(frozen=True, slots=True)
class Property:
    """One output property: its Python type, and whether it can be unset."""

    type: Any
    optional: bool


@dataclass(frozen=True, slots=True)
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
    if package != "aws" or ":" not in rest:
        return None
    module_name, _, class_name = rest.partition(":")
    module: Any = rpc.get_resource_module(package, module_name, "")
    if module is None or token not in module.mod_info["classes"]:
        return None
    python_module = importlib.import_module(module.mod_info["fqn"])
    resource_class = getattr(python_module, module.mod_info["classes"][token])
    arguments = getattr(python_module, f"{class_name}Args", None)
    inputs = (
        frozenset(_types.input_type_py_to_pulumi_names(arguments).values())
        if arguments is not None
        else frozenset()
    )
    types = _types._types_from_py_properties(resource_class)
    hints = _types._raw_return_hints(resource_class)
    outputs = {
        name: Property(
            types.get(name, Any), type(None) in getattr(_inside_output(hint), "__args__", ())
        )
        for name, hint in hints.items()
        if name not in ("id", "urn")
    }
    return Schema(token, inputs, outputs)


def _inside_output(hint: Any) -> Any:
    arguments = getattr(hint, "__args__", ())
    return arguments[0] if arguments else hint
