"""docs/settings.md: every key of a stack file, from the settings model."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from pydantic.fields import FieldInfo

from components.settings import model as settings
from components.settings import sections
from components.settings.validators import Allowed
from tools.docs.markdown import prose, table

HEAD = """# Stack settings

The keys under `gatehouse:settings` in a stack file (`Pulumi.dev.yaml`, `Pulumi.staging.yaml`, `Pulumi.prod.yaml`). A missing,
unknown or invalid key is an error before the preview starts. "Prod" in a row is the only value that the stack `prod` accepts. Rules
between several keys are in `components/settings/`; their error messages name the key and the accepted values.
"""
TYPES = {str: "text", int: "number", bool: "boolean"}


def leaves(model: type[sections.Section] = settings.Settings, path: str = "") -> Iterator[tuple[str, str, FieldInfo, str]]:
    """Section path, key, field and description of every setting."""
    for name, field in model.model_fields.items():
        if _section(field) is None:
            yield path, name, field, _description(model, name)
    for name, field in model.model_fields.items():
        if (section := _section(field)) is not None:
            yield from leaves(section, f"{path}{name}.")


def about(path: str) -> str:
    """The description of a section: that of its field, or the docstring of its class."""
    model: type[sections.Section] = settings.Settings
    text = inspect.getdoc(model) or ""
    for name in path.split(".")[:-1]:
        field = model.model_fields[name]
        model = _section(field) or model
        text = field.description or inspect.getdoc(model) or ""
    return text


def page() -> str:
    """One table for each section, and the memory sizes of Fargate."""
    required_in_prod = {key: words for key, _, _, words in settings._LIVE}
    rows: dict[str, list[tuple[str, ...]]] = {}
    for path, name, field, description in leaves():
        key = path + name
        prod = f". Prod: {required_in_prod[key]}" if key in required_in_prod else ""
        rows.setdefault(path, []).append((f"`{key}`", _type(field), prose(allowed(field) + prod), prose(description)))
    parts = [HEAD]
    for path, lines in rows.items():
        title = f"## `{path[:-1]}`" if path else "## General"
        parts.append(f"{title}\n\n{prose(about(path))}\n\n{table(('key', 'type', 'allowed', 'description'), lines)}\n")
    sizes = ((str(cpu), f"{low} to {high}") for cpu, (low, high) in settings.MEMORY_MIB.items())
    parts.append("## CPU and memory\n\nFargate's memory sizes for each CPU size, in steps of 1024 MiB above 1024:\n")
    parts.append(table(("cpu", "memory_mib"), sizes) + "\n")
    return "\n".join(parts)


def allowed(field: FieldInfo) -> str:
    """The accepted values, in the words of the error message."""
    checks = (getattr(item, "func", None) for item in field.metadata)
    return next((check.words for check in checks if isinstance(check, Allowed)), "")


def _section(field: FieldInfo) -> type[sections.Section] | None:
    """The section model of a field or of its list entries."""
    types: tuple[Any, ...] = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in types if isinstance(kind, type) and issubclass(kind, sections.Section)), None)


def _type(field: FieldInfo) -> str:
    return next((word for kind, word in TYPES.items() if kind is field.annotation), "list")


def _description(model: type[sections.Section], name: str) -> str:
    """The field's description, or the string below the field in the class that declares it."""
    owner = next(base for base in model.__mro__ if name in inspect.get_annotations(base))
    return model.model_fields[name].description or _attribute_docstrings(owner).get(name, "")


def _attribute_docstrings(owner: type) -> dict[str, str]:
    body = ast.parse(inspect.getsource(owner)).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    return {
        field.target.id: str(below.value.value)
        for field, below in pairwise(statements)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }
