"""`python -m sandbox diff`: compares two runs of the program to determine the steps of an update with changed settings."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pulumi
import yaml

from policies.analysis.type_tokens import STATEFUL
from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.engine.providers import FakeProvider
from sandbox.engine.types import Deployment, Resource
from sandbox.errors import SandboxError

SETTINGS = "gatehouse:settings"
Operation = Literal["create", "update", "replace", "unknown", "delete"]
_SIGNS: Final[dict[Operation, str]] = {"create": "+", "update": "~", "replace": "+-", "unknown": "?~", "delete": "-"}

_FACTS = tomllib.loads(Path(__file__).with_name("replacement.toml").read_text())


@dataclass(frozen=True, slots=True)
class Step:
    """The operation on one resource. properties: the changed inputs. `unknown`: the resource is updated or replaced."""

    operation: Operation
    type: str
    name: str
    urn: str
    properties: tuple[str, ...] = ()

    @property
    def loses_data(self) -> bool:
        """True if a resource that stores data is deleted, or is or may be replaced."""
        return self.type in STATEFUL and self.operation in ("replace", "unknown", "delete")


def diff(program: Path, stack: str, changes: Sequence[str]) -> list[Step]:
    """The steps of an update with `changes`, such as "image.digest=sha256:...".

    Raises SandboxError for an unknown setting, or a value that the program rejects.
    """
    config = {SETTINGS: apply_changes(load(program, stack).config.get(SETTINGS, "{}"), changes)}
    # The changed program runs first, because it rejects invalid values.
    after = run(program, stack, FakeProvider(), preview=False, config=config)
    return compare(run(program, stack, FakeProvider(), preview=False), after)


def compare(before: Deployment, after: Deployment) -> list[Step]:
    """The steps from one deployment of a stack to another, in order of execution.

    An input that depends on a replaced resource counts as changed, because its new value is unknown. The result can therefore
    have too many steps.
    """
    old = {resource.registration.urn: resource for resource in before.resources if resource.registration.custom}
    steps: list[Step] = []
    replaced: set[str] = set()
    maybe_replaced: set[str] = set()
    for resource in after.resources:
        registration = resource.registration
        if not registration.custom:
            continue
        current = old.pop(registration.urn, None)
        if current is None:
            steps.append(Step("create", registration.type, registration.name, registration.urn))
            continue
        certain = _changed_properties(current, resource, replaced)
        properties = _changed_properties(current, resource, replaced | maybe_replaced)
        if properties:
            operation = _operation(registration.type, certain, properties)
            if operation == "replace":
                replaced.add(registration.urn)
            elif operation == "unknown":
                maybe_replaced.add(registration.urn)
            steps.append(Step(operation, registration.type, registration.name, registration.urn, properties))
    deleted = [resource.registration for resource in reversed(old.values())]
    return steps + [Step("delete", item.type, item.name, item.urn) for item in deleted]


def apply_changes(settings: str, changes: Sequence[str]) -> str:
    """Apply changes such as "section.key=value" to the settings (JSON). Values are YAML.

    Raises SandboxError if the path is not in a section. The program itself rejects an unknown key.
    """
    document = json.loads(settings)
    for change in changes:
        path, sign, text = change.partition("=")
        *sections, key = path.split(".")
        section: Any = document
        for name in sections:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if not sign or not isinstance(section, dict):
            raise SandboxError(
                f"--set {change}: unknown setting {path!r}. Specify section.key=value with a key from docs/settings.md."
            )
        try:
            section[key] = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise SandboxError(f"--set {change}: the value is not valid YAML.") from exc
    return json.dumps(document)


def text(steps: Sequence[Step]) -> str:
    """One line for each step, and a summary."""
    lines = [
        f"{_SIGNS[step.operation]:>2} {step.operation:<8} {step.type:<50} {step.name}"
        + (f"  [{', '.join(step.properties)}]" if step.properties else "")
        + _warning(step)
        for step in steps
    ]
    counts = {operation: sum(step.operation == operation for step in steps) for operation in _SIGNS}
    names = {**{operation: f"to {operation}" for operation in _SIGNS}, "unknown": "to update or replace (unknown)"}
    summary = ", ".join(f"{count} {names[operation]}" for operation, count in counts.items() if count) or "no changes"
    return "\n".join([*lines, summary]) + "\n"


def _warning(step: Step) -> str:
    if not step.loses_data:
        return ""
    return "  DATA LOSS POSSIBLE" if step.operation == "unknown" else "  DATA LOSS"


def replaces(type_: str, property_: str) -> bool | None:
    """True if a change to this input (camelCase) replaces the resource. None if this is not known, or depends on the change."""
    if property_ == "region":
        return True
    if not type_.startswith("aws:"):
        return False
    if type_ not in _FACTS["replace"] or property_ in _FACTS["may_replace"].get(type_, ()):
        return None
    return property_ in _FACTS["replace"][type_]


def _operation(type_: str, certain: Sequence[str], properties: Sequence[str]) -> Operation:
    """The operation after changes to inputs. certain: inputs that change in any case."""
    if any(replaces(type_, name) for name in certain):
        return "replace"
    return "update" if all(replaces(type_, name) is False for name in properties) else "unknown"


def _changed_properties(current: Resource, desired: Resource, replaced: set[str]) -> tuple[str, ...]:
    """Inputs that differ or depend on a replaced resource, except those in `ignore_changes`."""
    old, new = current.registration, desired.registration
    changed = {key for key in {*old.inputs, *new.inputs} if _plain(old.inputs.get(key)) != _plain(new.inputs.get(key))}
    dependent = {key for key, urns in new.property_dependencies.items() if replaced & set(urns)}
    ignored = {path.split(".")[0].split("[")[0] for path in new.ignore_changes}
    return tuple(sorted((changed | dependent) - ignored - {camel(name) for name in ignored}))


def _plain(value: Any) -> Any:
    """Replace archives and files with their paths for the comparison."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.path if isinstance(value, pulumi.FileArchive | pulumi.FileAsset) else value


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
