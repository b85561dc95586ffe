"""Changes that violate one control, and changes that violate none."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.policies.declared import Declared, Ref
from tests.policies.rules import account_programs, programs
from tests.policies.rules.builders import Program, declared, kms, replicated_key, roles

ABSENT = "(none)"
"""The value of a removed resource, input or element."""
_REFERENCE = re.compile(r"\$\{([\w-]+)(?:\.(\w+))?\}")
"""An output of another resource, by default its ID."""


@dataclass(frozen=True)
class Case:
    """A program that violates one control.

    name: the resource that the violation is reported for.
    message: text that the message contains.
    also: other controls that no program with this violation can meet.
    upstream: IDs of other catalogues that the program violates as well.
    """

    rule: str
    name: str
    message: str
    program: Program
    also: frozenset[str] = frozenset()
    upstream: str = ""


def _case(rule: str, row: Mapping[str, Any]) -> Case:
    base, changes = parts_of(row)
    return Case(
        rule,
        row.get("on") or next(iter(changes)),
        row["message"],
        changed_program(base(), changes),
        frozenset(row.get("also", "").split()),
        row.get("upstream", ""),
    )


def parts_of(row: Mapping[str, Any]) -> tuple[Callable[[], Program], Mapping[str, Any]]:
    [name] = row.keys() - {"on", "message", "also", "upstream", "name"}
    return (list if name == "nothing" else COMPLIANT[name]), row[name]


def changed_program(program: Program, changes: Mapping[str, Any]) -> Program:
    resources = {resource.name: resource for resource in program}
    for name, change in changes.items():
        if change == ABSENT:
            del resources[name]
            continue
        inputs = {key: value for key, value in change.items() if key not in _FIELDS}
        fields = {_FIELDS[key]: change[key] for key in change.keys() & _FIELDS.keys()}
        resource_class = fields.pop("class", "")
        resource = declared(resource_class, name) if resource_class else resources[name]
        resources[name] = replace(resource, inputs=patched(resource.inputs, inputs), **fields)
    return [
        replace(item, depends_on=tuple(other for other in item.depends_on if other in resources))
        for item in resources.values()
    ]


_FIELDS = {
    "is": "class",
    "token": "type",
    "protected": "protect",
    "after": "depends_on",
    "computed": "computed",
}


def patched(value: Any, change: Any) -> Any:
    """A table changes members of an object or elements of a list, also in JSON text."""
    if isinstance(change, list):
        return [patched(None, element) for element in change]
    if isinstance(change, str) and (reference := _REFERENCE.fullmatch(change)):
        return Ref(reference[1], reference[2] or "id")
    if not isinstance(change, dict):
        return change
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(patched(json.loads(value), change))
    if isinstance(value, list):
        elements = dict(enumerate(value))
        for index, inner in change.items():
            elements[int(index)] = patched(elements.get(int(index)), inner)
        return [element for element in elements.values() if element != ABSENT]
    members = dict(value) if isinstance(value, Mapping) else {}
    for key, inner in change.items():
        members[key] = patched(members.get(key), inner)
    return {key: member for key, member in members.items() if member != ABSENT}


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / name).read_text())


def _declared(resources: dict[str, Any]) -> Callable[[], Program]:
    bases = resources.pop("extends", "").split()

    def program() -> Program:
        joined: dict[str, Declared] = {}
        for base in bases:
            for resource in (account_programs.stack if base == "stack" else COMPLIANT[base])():
                joined.setdefault(resource.name, resource)
        return changed_program([*joined.values()], resources)

    return program


COMPLIANT: dict[str, Callable[[], Program]] = {
    program.__name__: program
    for program in (kms, replicated_key, roles, account_programs.trail, *programs.PROGRAMS)
}
COMPLIANT |= {name: _declared(resources) for name, resources in _read("programs.toml").items()}
"""Compliant programs, by name."""
_FILES = ("cases.toml", "strangers.toml", "settings.toml")
_TABLES = [table for name in _FILES for table in _read(name).items()]
VARIANTS: Mapping[str, Program] = {
    row["name"]: changed_program(base(), changes)
    for table, rows in _TABLES
    for row in rows
    if table == "compliant"
    for base, changes in [parts_of(row)]
}
"""Compliant programs with a change, by name."""
ROWS: Mapping[str, list[dict[str, Any]]] = {
    rule: [row for table, rows in _TABLES if table == rule for row in rows]
    for rule, _ in _TABLES
    if rule != "compliant"
}
"""The violating programs of each control, as the files declare them."""
CASES: list[Case] = [
    _case(table, row) for table, rows in _TABLES for row in rows if table != "compliant"
]
