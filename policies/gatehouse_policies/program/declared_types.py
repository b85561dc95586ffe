"""The types that Pulumi.yaml declares for configuration keys, with the rules of the Pulumi CLI."""

import re
from typing import Any

from gatehouse_policies.errors import CheckError

_TYPES = ("string", "boolean", "integer", "array", "object")


def check_declaration(place: str, declared: dict[str, Any]) -> None:
    """Raises CheckError for an unknown type, an array without the type of its items, or a default
    of another type.

    place: file and key for the message. declared: the mapping with `type`, `items`, `default` and
        `value`.
    """
    if "type" not in declared:
        return
    _check_type(place, declared)
    default = declared.get("default")
    if default is not None and not _has_type(default, declared):
        raise CheckError(
            f"{place}: the default {default!r} is not of the type {_type_name(declared)}. "
            f"Correct one of them."
        )


def _check_type(place: str, declared: dict[str, Any]) -> None:
    kind = declared.get("type")
    if kind not in _TYPES:
        raise CheckError(f"{place}: {kind!r} is not a type. Write one of {', '.join(_TYPES)}.")
    if kind == "array":
        items = declared.get("items")
        if not isinstance(items, dict) or "type" not in items:
            raise CheckError(
                f"{place}: an array needs the type of its items. Add `items: {{type: string}}`."
            )
        _check_type(f"{place}.items", items)


def _has_type(value: Any, declared: dict[str, Any]) -> bool:
    """True if the Pulumi CLI accepts the value. It also accepts whole numbers and true or false as
    text.
    """
    match declared["type"]:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool) or value in ("true", "false")
        case "integer":
            number = (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and value == int(value)
            )
            return number or (
                isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value) is not None
            )
        case "object":
            return isinstance(value, dict)
        case _:
            return isinstance(value, list) and all(
                _has_type(item, declared["items"]) for item in value
            )


def _type_name(declared: dict[str, Any]) -> str:
    return (
        f"array<{_type_name(declared['items'])}>"
        if declared["type"] == "array"
        else str(declared["type"])
    )
