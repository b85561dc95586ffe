"""`python -m sandbox diff`: compares two runs of the program to determine the steps of an update
with changed settings.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from gatehouse_policies.analysis.type_tokens import STATEFUL
from gatehouse_policies.program.project import load
from gatehouse_policies.program.providers import FakeProvider, ProviderInputs
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import Deployment

from sandbox.engine.steps import (
    Operation,
    Step,
    changed_properties,
    operation,
    with_ignored_changes,
)
from sandbox.errors import SandboxError

SETTINGS = "gatehouse:settings"
_SIGNS: Final[dict[Operation, str]] = {
    "create": "+",
    "update": "~",
    "replace": "+-",
    "unknown": "?~",
    "delete": "-",
}


def diff(program: Path, stack: str, changes: Sequence[str]) -> list[Step]:
    """The steps of an update with `changes`, such as "image.digest=sha256:...".

    Raises SandboxError for an unknown setting, or a value that the program rejects.
    """
    config = {SETTINGS: apply_changes(load(program, stack).config.get(SETTINGS, "{}"), changes)}
    # The changed program runs first, because it rejects invalid values.
    after = run(program, stack, FakeProvider(), preview=False, config=config)
    before = run(program, stack, FakeProvider(), preview=False)
    with contextlib.chdir(program):  # paths of files are relative to the program
        return compare(before, after)


def compare(before: Deployment, after: Deployment) -> list[Step]:
    """The steps from one deployment of a stack to another, in order of execution.

    An input that depends on a replaced resource counts as changed, because its new value is
    unknown. The result can therefore have too many steps.
    """
    old = {
        resource.registration.urn: resource.registration
        for resource in before.resources
        if resource.registration.custom
    }
    inputs_before, inputs_after = ProviderInputs(), ProviderInputs()
    for resource in before.resources:
        inputs_before.declare(resource.registration)
    steps: list[Step] = []
    replaced: set[str] = set()
    maybe_replaced: set[str] = set()
    for registration in (
        resource.registration for resource in after.resources if resource.registration.custom
    ):
        inputs_after.declare(registration)
        urns = (registration.urn, *registration.aliases)
        current = next((old.pop(urn) for urn in urns if urn in old), None)
        if current is None:
            steps.append(Step("create", registration.type, registration.name, registration.urn))
            continue
        goal = with_ignored_changes(current, registration)
        inputs = inputs_before.inputs(current), inputs_after.inputs(goal)
        certain = operation(goal, changed_properties(*inputs, goal, replaced))
        properties = changed_properties(*inputs, goal, replaced | maybe_replaced)
        kind = certain if certain == "replace" else operation(goal, properties)
        if kind == "replace":
            replaced.add(registration.urn)
        elif kind == "unknown":
            maybe_replaced.add(registration.urn)
        if kind != "same":
            steps.append(
                Step(kind, registration.type, registration.name, registration.urn, properties)
            )
    # The engine does not delete resources that were only read, or that are retained.
    deleted = [
        item for item in reversed(old.values()) if not (item.external or item.retain_on_delete)
    ]
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
                f"--set {change}: unknown setting {path!r}. Specify section.key=value with a "
                f"key from docs/settings.md."
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
    names = {
        **{operation: f"to {operation}" for operation in _SIGNS},
        "unknown": "to update or replace (unknown)",
    }
    summary = (
        ", ".join(f"{count} {names[operation]}" for operation, count in counts.items() if count)
        or "no changes"
    )
    return "\n".join([*lines, summary]) + "\n"


def loses_data(step: Step) -> bool:
    """True if a resource that stores data is deleted, or is or may be replaced."""
    return step.type in STATEFUL and step.operation in ("replace", "unknown", "delete")


def _warning(step: Step) -> str:
    if not loses_data(step):
        return ""
    return "  DATA LOSS POSSIBLE" if step.operation == "unknown" else "  DATA LOSS"
