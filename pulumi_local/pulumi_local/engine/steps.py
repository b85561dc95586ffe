"""Determines the operation on a resource: which inputs differ, and whether the change replaces the
resource.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pulumi_local.errors import CommandError
from pulumi_local.schema import camel
from pulumi_local.types import Registration
from pulumi_local.values import SIGNATURE, encode

Operation = Literal["same", "create", "update", "replace", "unknown", "delete", "retain"]

_FACTS = tomllib.loads(Path(__file__).with_name("replacement.toml").read_text())


@dataclass(frozen=True)
class Step:
    """The operation on one resource. properties: the changed inputs, or the resource option that
    replaces the resource. `unknown`: the resource is updated or replaced.

    `retain`: the resource is only removed from the state. note: what differs from AWS in the
        emulator; "" if nothing differs.
    """

    operation: Operation
    type: str
    name: str
    urn: str
    properties: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """The operation on a resource that exists, and the inputs or outputs for which it is needed.

    delete_first: a replacement deletes the old resource first, if the program does not set the
        order.
    """

    operation: Operation
    properties: tuple[str, ...] = ()
    delete_first: bool = False


def changed_properties(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    names = {key for key in {*old, *new} if _plain(old.get(key)) != _plain(new.get(key))}
    return tuple(sorted(names))


def replaces(type_: str, property_: str) -> bool | None:
    """True if a change to this input (camelCase) replaces the resource. None if this is not known,
    or depends on the change.
    """
    if property_ == "region":
        return True
    if not type_.startswith("aws:"):
        return False
    if type_ not in _FACTS["replace"] or property_ in _FACTS["may_replace"].get(type_, ()):
        return None
    return property_ in _FACTS["replace"][type_]


def operation(registration: Registration, properties: Collection[str]) -> Operation:
    """The operation after changes to inputs: same, update, replace, or unknown if the facts do not
    say which of the two.
    """
    if any(replaces(registration.type, name) for name in properties):
        return "replace"
    if not properties:
        return "same"
    return (
        "update"
        if all(replaces(registration.type, name) is False for name in properties)
        else "unknown"
    )


def keeps_name(old: Registration, new: Registration) -> bool:
    """True if a replacement has the same name, so that the old resource must be deleted first.

    Source: nameRequiresDeleteBeforeReplace in pulumi-terraform-bridge: the input that Pulumi
        generates by default is set.
    """
    names = _FACTS["name"].get(new.type, ["name"])
    return any(name in new.inputs and old.inputs.get(name) == new.inputs[name] for name in names)


def with_ignored_changes(old: Registration, new: Registration) -> Registration:
    """The registration with the old values of the inputs in `ignore_changes`, as the engine does
    before it compares. Raises CommandError for a part of an input.
    """
    names = set[str]()
    for path in new.ignore_changes:
        if path != "*" and not path.isidentifier():
            raise CommandError(
                f"{new.urn}: ignore_changes contains {path!r}. The sandbox supports whole inputs "
                "only. Name the input."
            )
        names |= {*old.inputs, *new.inputs} if path == "*" else {camel(path)}
    kept = {name: value for name, value in old.inputs.items() if name in names}
    changed = {name: value for name, value in new.inputs.items() if name not in names}
    return replace(new, inputs={**changed, **kept})


def _plain(value: Any) -> Any:
    """A value to compare: archives and files by the hash of their content."""
    if isinstance(value, dict):
        if SIGNATURE in value:
            return value.get("hash", value)
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    encoded = encode(value, with_hash=True)
    return encoded["hash"] if isinstance(encoded, dict) else value
