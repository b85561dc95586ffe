"""What a change of settings would do to a stack that stands: the program is run before and after it, and the inputs compared."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import yaml

from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.engine.providers import InventedCloud
from sandbox.engine.replacement import STATEFUL, replaces
from sandbox.engine.types import Deployment, Resource
from sandbox.errors import SandboxError

SETTINGS = "gatehouse:settings"
_SIGNS = {"create": "+", "update": "~", "replace": "+-", "delete": "-"}


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one resource. `act`: create, update, replace or delete; `properties`: the inputs that changed."""

    act: str
    type: str
    name: str
    urn: str
    properties: tuple[str, ...] = ()

    @property
    def loses_data(self) -> bool:
        """A store is made anew or taken away."""
        return self.type in STATEFUL and self.act in ("replace", "delete")


def diff(program: Path, stack: str, changes: Sequence[str]) -> list[Step]:
    """The steps from the stack as its file describes it to the one with `changes` ("image.digest=sha256:...").

    Raises SandboxError for a change that names no setting, and for one that the program refuses.
    """
    before = run(program, stack, InventedCloud(), preview=False)
    config = {SETTINGS: changed(load(program, stack).config.get(SETTINGS, "{}"), changes)}
    return steps(before, run(program, stack, InventedCloud(), preview=False, config=config))


def steps(before: Deployment, after: Deployment) -> list[Step]:
    """What differs between two deployments of a stack, in the order in which it would be done.

    A property that is made from a resource which is replaced counts as changed: its new value is not known, so this may say too
    much, never too little.
    """
    old = {resource.registration.urn: resource for resource in before.resources if resource.registration.custom}
    found: list[Step] = []
    anew: set[str] = set()
    for resource in after.resources:
        asked = resource.registration
        if not asked.custom:
            continue
        standing = old.pop(asked.urn, None)
        if standing is None:
            found.append(Step("create", asked.type, asked.name, asked.urn))
            continue
        properties = _changed(standing, resource, anew)
        if properties:
            act = "replace" if any(replaces(asked.type, name) for name in properties) else "update"
            if act == "replace":
                anew.add(asked.urn)
            found.append(Step(act, asked.type, asked.name, asked.urn, properties))
    gone = [resource.registration for resource in reversed(old.values())]
    return found + [Step("delete", item.type, item.name, item.urn) for item in gone]


def changed(settings: str, changes: Sequence[str]) -> str:
    """The settings (JSON) with each "path.to.key=value" set; the value is read as YAML.

    Raises SandboxError if the path leads through a value that is not a section. The program itself rejects an unknown key.
    """
    document = json.loads(settings)
    for change in changes:
        path, sign, text = change.partition("=")
        *folders, key = path.split(".")
        place: Any = document
        for folder in folders:
            place = place.setdefault(folder, {}) if isinstance(place, dict) else None
        if not sign or not isinstance(place, dict):
            raise SandboxError(
                f"--set {change}: there is no setting {path!r}. Every key is in docs/settings.md: section.key=value"
            )
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            raise SandboxError(f"--set {change}: the value is not valid YAML.") from exc
    return json.dumps(document)


def text(found: Sequence[Step]) -> str:
    """One line a step, and what it comes to."""
    lines = [
        f"{_SIGNS[step.act]:>2} {step.act:<8} {step.type:<50} {step.name}"
        + (f"  [{', '.join(step.properties)}]" if step.properties else "")
        + ("  LOSES ITS DATA" if step.loses_data else "")
        for step in found
    ]
    count = {act: sum(step.act == act for step in found) for act in _SIGNS}
    summary = ", ".join(f"{number} to {act}" for act, number in count.items() if number) or "no change"
    return "\n".join([*lines, summary]) + "\n"


def _changed(standing: Resource, wanted: Resource, anew: set[str]) -> tuple[str, ...]:
    """Inputs that differ, or are made from a resource that is made anew; those that the program ignores are left out."""
    old, new = standing.registration, wanted.registration
    direct = {key for key in {*old.inputs, *new.inputs} if _plain(old.inputs.get(key)) != _plain(new.inputs.get(key))}
    made_from = {key for key, urns in new.property_dependencies.items() if anew & set(urns)}
    ignored = {path.split(".")[0].split("[")[0] for path in new.ignore_changes}
    return tuple(sorted((direct | made_from) - ignored - {_camel(name) for name in ignored}))


def _plain(value: Any) -> Any:
    """Archives and files are the same when their path is."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.path if isinstance(value, pulumi.FileArchive | pulumi.FileAsset) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
