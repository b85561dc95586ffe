"""What the installed pulumi-aws classes say about a type token: its inputs, its outputs, which are always set."""

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import pulumi_aws  # noqa: F401  (registers every module with the runtime)
from pulumi import _types
from pulumi.runtime import rpc


@dataclass(frozen=True, slots=True)
class Property:
    """One output property: its Python type and whether pulumi-aws may leave it unset."""

    type: Any
    optional: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """One resource class, in Pulumi's camelCase names."""

    token: str
    inputs: frozenset[str]
    outputs: dict[str, Property]

    @property
    def taggable(self) -> bool:
        """True when the class merges the provider's default tags into `tagsAll`."""
        return "tagsAll" in self.outputs


@functools.cache
def schema(token: str) -> Schema | None:
    """The class behind `aws:s3/bucket:Bucket`; None for a token that the installed pulumi-aws does not know."""
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
    inputs = frozenset(_types.input_type_py_to_pulumi_names(arguments).values()) if arguments is not None else frozenset()
    types = _types._types_from_py_properties(resource_class)
    hints = _types._raw_return_hints(resource_class)
    outputs = {
        name: Property(types.get(name, Any), type(None) in getattr(_inside_output(hint), "__args__", ()))
        for name, hint in hints.items()
        if name not in ("id", "urn")
    }
    return Schema(token, inputs, outputs)


def _inside_output(hint: Any) -> Any:
    arguments = getattr(hint, "__args__", ())
    return arguments[0] if arguments else hint
