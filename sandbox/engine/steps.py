"""Determines the operation on a resource: which inputs differ, and whether the change replaces the
resource.
"""

import tomllib
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gatehouse_policies.program.schema import camel
from gatehouse_policies.program.types import Registration
from gatehouse_policies.program.values import SIGNATURE, encode, path_steps

Operation = Literal["same", "create", "update", "replace", "unknown", "delete", "retain"]

_FACTS = tomllib.loads(Path(__file__).with_name("replacement.toml").read_text())


@dataclass(frozen=True, slots=True)
class Step:
    """The operation on one resource. properties: the changed inputs. `unknown`: the resource is
    updated or replaced.

    `retain`: the resource is only removed from the state. note: what differs from AWS in the
        emulator; "" if nothing differs.
    """

    operation: Operation
    type: str
    name: str
    urn: str
    properties: tuple[str, ...] = ()
    note: str = ""


def changed_properties(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    registration: Registration,
) -> tuple[str, ...]:
    """The inputs that differ, except those in `ignore_changes`."""
    names = {key for key in {*old, *new} if _plain(old.get(key)) != _plain(new.get(key))}
    ignored = {path for path in registration.ignore_changes if len(path_steps(path)) == 1}
    return tuple(sorted(names - ignored - {camel(name) for name in ignored}))


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
    forced = {path_steps(path)[0] for path in registration.replace_on_changes}
    if any(
        replaces(registration.type, name) or name in forced or "*" in forced for name in properties
    ):
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
    """The registration with the old values at the paths of `ignore_changes`, as the engine does
    before it compares.
    """
    inputs = dict(new.inputs)
    for path in new.ignore_changes:
        first, *rest = path_steps(path)
        _restore(
            old.inputs, inputs, [first if first in (*old.inputs, *inputs) else camel(first), *rest]
        )
    return replace(new, inputs=inputs)


def _restore(old: Any, new: Any, path: list[str]) -> None:
    """Set the value at `path` in `new` to the value in `old`. `*` selects all members. `new` is
    copied at each level below.
    """
    step, *rest = path
    keys: list[Any]
    if isinstance(old, list) and isinstance(new, list):
        keys = [key for key in range(min(len(old), len(new))) if step in ("*", str(key))]
    elif isinstance(old, dict) and isinstance(new, dict):
        keys = list({*old, *new}) if step == "*" else [step]
    else:
        return
    for key in keys:
        if rest:
            if isinstance(new, list) or (key in old and key in new):
                new[key] = copy(new[key])
                _restore(old[key], new[key], rest)
        elif isinstance(old, list) or key in old:
            new[key] = old[key]
        else:
            new.pop(key, None)


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
