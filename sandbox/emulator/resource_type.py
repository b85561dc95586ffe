"""`ResourceType`: how the emulator creates one resource type with AWS API calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.emulator.request import Created, CreateRequest, normalized
from sandbox.engine.schema import schema
from sandbox.engine.types import Registration

PULUMI_ONLY = "controls how Pulumi updates or deletes the resource; not sent to AWS"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """The emulation of one resource type: either `call` with its mappings, or a `create` function.

    Templates such as "{VpcId}" refer to members of the response, inputs, `region` and `account`.
    """

    call: str = ""
    """"service.operation" that creates the resource. Parameters come from the inputs by name (`cidrBlock` -> `CidrBlock`)."""
    id: str = ""
    """Template of the resource id."""
    result: str = ""
    """Path of the resource in the response, such as "Vpc" or "DBInstances.0"; "" is the whole response."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Inputs whose API parameter has another name."""
    nested: Mapping[str, str] = field(default_factory=dict)
    """The same for names inside inputs, at any depth."""
    constant: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are always sent."""
    tag_kind: str = ""
    """EC2 only: the resource type of the tag specification."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Property to template. Takes precedence over members of the response with the same name."""
    prepare: Callable[[CreateRequest, dict[str, Any]], None] | None = None
    """Changes the parameters before the call."""
    finish: Callable[[CreateRequest, dict[str, Any]], dict[str, Any]] | None = None
    """Makes further calls with the created resource; returns additional outputs."""
    create: Callable[[CreateRequest], Created] | None = None
    """Creates the resource instead of `call`; returns the id and the outputs."""
    handled: tuple[str, ...] = ()
    """Inputs that `prepare` or `finish` use; they are not mapped by name."""
    ignored: Mapping[str, str] = field(default_factory=dict)
    """Inputs that the emulator does not use, each with the reason."""
    dropped: Mapping[str, str] = field(default_factory=dict)
    """Inputs that are validated and sent but not stored by moto, each with what is lost."""
    modelled: str = ""
    """Why moto cannot create this type: the request is only validated. "" for a type that is created."""


def create(resource_type: ResourceType, request: CreateRequest) -> Created:
    """Create the resource. Raises SandboxError for an input that nothing uses or an output that the type does not have."""
    registration = request.registration
    members: Mapping[str, Any] = {}
    if resource_type.create is not None:
        identity, extra = resource_type.create(request)
    else:
        members = _call(resource_type, request)
        extra = resource_type.finish(request, dict(members)) if resource_type.finish is not None else {}
        scope = {**registration.inputs, **members, "region": request.region, "account": request.account, **extra}
        identity = str(_fill(resource_type.id, scope))
    scope = {**registration.inputs, **members, **extra, "region": request.region, "account": request.account, "id": identity}
    extra = {**extra, **{name: _fill(template, scope) for name, template in resource_type.outputs.items()}}
    if unused := request.unused() - set(resource_type.ignored):
        raise request.error(
            f"the emulator does not use these inputs of {registration.type}: {', '.join(sorted(unused))}. "
            "Map them in sandbox/emulator/resources/, or list them there as `ignored` with the reason."
        )
    return identity, _outputs(request, members, extra)


def _call(resource_type: ResourceType, request: CreateRequest) -> Mapping[str, Any]:
    parameters = request.parameters(
        resource_type.call,
        names=resource_type.names,
        nested=resource_type.nested,
        skip=(*resource_type.handled, *resource_type.ignored),
        tag_kind=resource_type.tag_kind,
    )
    parameters |= resource_type.constant
    if resource_type.prepare is not None:
        resource_type.prepare(request, parameters)
    request.sent = parameters
    response: Any = request.call(resource_type.call, parameters)
    for step in filter(None, resource_type.result.split(".")):
        response = response[int(step)] if step.isdigit() else response[step]
    members: Mapping[str, Any] = response
    return members


def _outputs(request: CreateRequest, members: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Members of the response that are properties of the type, then inputs, additional outputs, merged tags and region."""
    registration: Registration = request.registration
    properties = schema(registration.type)
    if properties is None:
        raise request.error(f"the installed pulumi-aws has no resource type {registration.type}.")
    if unknown := sorted(name for name in extra if name not in properties.outputs):
        raise request.error(f"{registration.type} of pulumi-aws has no such outputs: {', '.join(unknown)}.")
    by_name = {normalized(name): name for name in properties.outputs}
    outputs: dict[str, Any] = {
        by_name[normalized(member)]: value.isoformat() if isinstance(value, datetime) else value
        for member, value in members.items()
        if normalized(member) in by_name and isinstance(value, str | int | float | bool | datetime)
    }
    outputs |= {**registration.inputs, **extra}
    if properties.taggable:
        outputs["tagsAll"] = dict(request.tags)
    if "region" in properties.outputs:
        outputs["region"] = request.region
    return outputs


def _fill(template: str, scope: Mapping[str, Any]) -> Any:
    """Fill a template. A template of a single member keeps the type of the member."""
    if template.startswith("{") and template.endswith("}") and template.count("{") == 1:
        return scope[template[1:-1]]
    return template.format_map(scope)
