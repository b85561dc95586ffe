"""The descriptions of settings, for the documentation.

The option `use_attribute_docstrings` of pydantic would parse the source of each section in every
run of the program.
"""

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The description of each field: the `description` of its annotation, or the docstring that
    follows the field.
    """
    docstrings: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            docstrings |= _docstrings(kind)
    return {
        name: field.description or docstrings.get(name, "")
        for name, field in model.model_fields.items()
    }


@cache
def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings of the fields in the body of a class."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
