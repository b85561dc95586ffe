"""The provider of the package, with a schema that describes every component and input."""

import dataclasses
import inspect
import json
import tomllib
from pathlib import Path
from typing import Any

from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.util import camel_case

from components.package.catalogue import FACADES
from components.package.facade import PACKAGE, component_class
from components.package.inputs import descriptions, fields_of
from components.settings.fields import Section

ROOT = Path(__file__).resolve().parents[2]


def version() -> str:
    """The version of the project."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def provider() -> ComponentProvider:
    """The provider. Its schema contains the docstrings of the components and of their arguments."""
    result = ComponentProvider([component_class(facade) for facade in FACADES], PACKAGE, version=version())
    document = json.loads(result.schema or "{}")
    for facade in FACADES:
        resource = document["resources"][f"{PACKAGE}:index:{facade.name}"]
        resource["description"] = inspect.cleandoc(facade.component.__doc__ or "")
        _describe(resource["inputProperties"], facade.descriptions())
        for kind, _ in facade.input_types().values():
            for nested in _nested(kind):
                _describe(document["types"][f"{PACKAGE}:index:{nested.__name__}"]["properties"], descriptions(nested))
    result.schema = json.dumps(document)
    return result


def schema() -> dict[str, Any]:
    """The Pulumi package schema."""
    document: dict[str, Any] = json.loads(provider().schema or "{}")
    return document


def _describe(properties: dict[str, Any], texts: dict[str, str]) -> None:
    for name, text in texts.items():
        if text and camel_case(name) in properties:
            properties[camel_case(name)]["description"] = text


def _nested(kind: Any) -> list[type]:
    """The dataclasses and sections in a type."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return [kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return [kind, *(nested for field, _ in fields_of(kind).values() for nested in _nested(field))]
    return [nested for item in getattr(kind, "__args__", ()) for nested in _nested(item)]
