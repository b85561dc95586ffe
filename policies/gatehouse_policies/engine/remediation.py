"""Remediation: changes the inputs of one resource so that a rule passes.

During remediation, a policy can neither add resources nor read other resources, so rules about
several resources have no remediation. Rules whose fix would replace a resource that contains data,
add cost or require a decision by the user have no remediation either.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pulumi_policy.proxy import UnknownValueError
from pulumi_policy.secret import Secret

from gatehouse_policies.analysis.properties import MalformedError, Properties, is_unknown, plain
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import evaluate
from gatehouse_policies.engine.rule import REMOVE, Rule, SetInput


@dataclass(frozen=True, slots=True)
class InputChange:
    """Path and new value of a changed input; None if it was removed. The old value is not stored,
    because it may be a secret.
    """

    path: str
    value: Any

    def text(self) -> str:
        return (
            f"removed {self.path}"
            if self.value is None
            else f"set {self.path} to {json.dumps(self.value)}"
        )


def remediate(
    rule: Rule, resource: Resource, inputs: Any
) -> tuple[dict[str, Any], tuple[InputChange, ...]] | None:
    """Applies the rule's steps in order until the rule passes. Returns the new inputs and the
    changes.

    Returns None, and changes nothing, if the resource already passes or still does not pass after
    all steps.

    inputs: as the SDK passes them, with marked secrets. Unchanged values are returned as they are.
    """
    fixed: dict[str, Any] = plain(inputs, provider_defaults=True)
    changes: list[InputChange] = []
    for step in rule.remediation:
        if not _fails(rule, resource, fixed):
            break
        try:
            changes += _apply(step, resource, fixed)
        except (MalformedError, UnknownValueError):
            # A value that the step depends on is malformed or unknown, which the rule itself
            # reports.
            return None
    return (
        (fixed, tuple(changes))
        if changes and not _fails(rule, resource, fixed, or_undecided=True)
        else None
    )


def _fails(rule: Rule, resource: Resource, inputs: Any, or_undecided: bool = False) -> bool:
    candidate = replace(resource, props=Properties(plain(inputs, reveal=True)))
    decision = evaluate(rule, candidate, Stack([candidate]))
    return bool(
        decision.violations
        or (or_undecided and (decision.undecided or decision.allowed or decision.broken))
    )


def _apply(step: SetInput, resource: Resource, inputs: dict[str, Any]) -> list[InputChange]:
    if step.types and resource.type not in step.types:
        return []
    value = step.value(resource) if callable(step.value) else step.value
    recorded = None if value is REMOVE else value
    if not step.json_property:
        return [InputChange(path, recorded) for path in _set(inputs, step.path, value)]
    text = inputs.get(step.json_property)
    if not isinstance(text, str) or is_unknown(text):
        return []
    try:
        elements = json.loads(text)
    except ValueError:
        return []
    if not isinstance(elements, list):
        return []
    paths = list(_set({"": elements}, f"[].{step.path}", value))
    if paths:
        inputs[step.json_property] = json.dumps(elements)
    return [InputChange(f"{step.json_property}{path}", recorded) for path in paths]


def _set(
    container: Any, path: str, value: Any, prefix: str = "", create: bool = True
) -> Iterator[str]:
    """Sets a value at a path and yields the paths that changed. Skips secrets and unknown
    values.
    """
    head, _, rest = path.partition(".")
    if not isinstance(container, dict):
        return
    if head.endswith("[]"):
        name = head.removesuffix("[]")
        elements = container.get(name)
        for index, element in enumerate(elements if isinstance(elements, list) else []):
            yield from _set(element, rest, value, f"{prefix}{name}[{index}].", create=False)
    elif rest:
        inner = container.get(head)
        if inner is None and create and value is not REMOVE:
            inner = container[head] = {}
        yield from _set(inner, rest, value, f"{prefix}{head}.", create)
    elif value is REMOVE:
        if container.pop(head, None) is not None:
            yield f"{prefix}{head}"
    elif (
        container.get(head) != value
        and not isinstance(container.get(head), Secret)
        and not is_unknown(container.get(head))
    ):
        container[head] = copy.deepcopy(value)
        yield f"{prefix}{head}"
