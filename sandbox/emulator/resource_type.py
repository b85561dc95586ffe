"""What a row is: how one resource type is made with AWS calls, and what of it is checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.emulator.request import Make, flat
from sandbox.engine.schema import schema
from sandbox.engine.types import Registration

HOW_PULUMI_WORKS = "tells Pulumi how to change or delete the resource; AWS never sees it"


@dataclass(frozen=True, slots=True)
class Row:
    """One resource type.

    call: "service.operation" that creates it; its parameters come from the inputs by name (`cidrBlock` -> `CidrBlock`).
    reply: path of the created thing in the answer, such as "Vpc" or "DBInstances.0"; "" is the whole answer.
    id: template over the answer's members, the inputs, `region` and `account`: "{VpcId}".
    names: inputs whose AWS name is another one; nested: the same for names inside of them, at any depth.
    constant: parameters that are always sent.
    tag_kind: for EC2, the resource type of the tag specification.
    outputs: property to template; they win over what is found by name in the answer.
    shape: last change to the parameters before the call, by hand.
    then: calls that follow; what it returns are more outputs.
    make: instead of `call`, everything by hand: returns the id and the outputs.
    by_hand: inputs that `shape`, `then` or `make` take themselves; the mechanical mapping leaves them alone.
    ignored: inputs that the emulator does not hold, each with the reason.
    """

    call: str = ""
    id: str = ""
    reply: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, str] = field(default_factory=dict)
    constant: Mapping[str, Any] = field(default_factory=dict)
    tag_kind: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    shape: Callable[[Make, dict[str, Any]], None] | None = None
    then: Callable[[Make, dict[str, Any]], dict[str, Any]] | None = None
    make: Callable[[Make], tuple[str, dict[str, Any]]] | None = None
    by_hand: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    """Inputs that AWS's model checks and moto then forgets, each with what is lost."""
    modelled: str = ""
    """Why nothing is created in moto for this type; "" for a type that is."""


def create(row: Row, make: Make) -> tuple[str, dict[str, Any]]:
    """Make the resource as its row says; the outputs are checked against the pulumi-aws class."""
    registration = make.registration
    if row.make is not None:
        identity, extra = row.make(make)
        found: Any = {}
    else:
        by_hand = (*row.by_hand, *row.ignored)
        named = make.parameters(row.call, names=row.names, nested=row.nested, skip=by_hand, tag_kind=row.tag_kind)
        parameters = {**named, **row.constant}
        if row.shape is not None:
            row.shape(make, parameters)
        make.sent = parameters
        answer = make.call(row.call, parameters)
        found = _at(answer, row.reply)
        scope = {**registration.inputs, **found, "region": make.region, "account": make.account}
        extra = row.then(make, found) if row.then is not None else {}
        identity = str(_filled(row.id, {**scope, **extra}))
    scope = {**registration.inputs, **found, **extra, "region": make.region, "account": make.account, "id": identity}
    extra = {**extra, **{name: _filled(template, scope) for name, template in row.outputs.items()}}
    left = make.left_over() - set(row.ignored)
    if left:
        names = ", ".join(sorted(left))
        raise make.error(
            f"the emulator's row for {registration.type} does nothing with: {names}. "
            "Use the input in the row (sandbox/emulator/resources/), or list it there as `ignored` with the reason."
        )
    return identity, outputs_of(registration, found, extra, make)


def outputs_of(registration: Registration, found: Mapping[str, Any], extra: Mapping[str, Any], make: Make) -> dict[str, Any]:
    """All inputs, what the answer holds under a name of the class, the row's own outputs, merged tags, region."""
    known = schema(registration.type)
    if known is None:
        raise make.error(f"the installed pulumi-aws has no resource type {registration.type}.")
    unknown = sorted(name for name in extra if name not in known.outputs)
    if unknown:
        raise make.error(
            f"the emulator's row gives outputs that {registration.type} of pulumi-aws does not have: {', '.join(unknown)}."
        )
    by_name = {flat(name): name for name in known.outputs}
    outputs = {
        by_name[flat(member)]: _plain(value)
        for member, value in found.items()
        if flat(member) in by_name and isinstance(value, str | int | float | bool | datetime)
    }
    outputs.update(registration.inputs)
    outputs.update(extra)
    if known.taggable:
        outputs["tagsAll"] = dict(make.tags)
    if "region" in known.outputs:
        outputs["region"] = make.region
    return outputs


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _at(answer: Any, path: str) -> dict[str, Any]:
    for step in filter(None, path.split(".")):
        answer = answer[int(step)] if step.isdigit() else answer[step]
    found: dict[str, Any] = answer
    return found


def _filled(template: str, scope: Mapping[str, Any]) -> Any:
    """A template that is one member alone keeps the member's type."""
    if template.startswith("{") and template.endswith("}") and template.count("{") == 1:
        return scope[template[1:-1]]
    return template.format_map(scope)
