"""`ResourceType`: the emulation of one resource type by AWS API calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from string import Formatter
from typing import Any, Final

from gatehouse_policies.program.schema import Schema, schema
from gatehouse_policies.program.types import ACCOUNT

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest, normalized

PULUMI_ONLY = frozenset(
    (
        *(
            "allowMajorVersionUpgrade",
            "allowOverwrite",
            "applyImmediately",
            "autoAccept",
            "deleteAutomatedBackups",
        ),
        *(
            "deletionWindowInDays",
            "finalSnapshotIdentifier",
            "forceDelete",
            "forceDestroy",
            "forceDetachPolicies",
        ),
        *(
            "forceNewDeployment",
            "recoveryWindowInDays",
            "revokeRulesOnDelete",
            "sigintRollback",
            "skipDestroy",
        ),
        *("skipFinalSnapshot", "sourceCodeHash", "trackLatest", "triggers", "waitForSteadyState"),
    )
)
"""Inputs that control how Pulumi updates or deletes a resource. These inputs are not sent to AWS
when the resource is created.
"""


AGAIN: Final = "again"
"""The calls that create the resource also change it."""
FINISH: Final = "finish"
"""The calls of `finish` change the resource."""
KEPT: Final = "kept"
"""AWS has no call that deletes the resource: the provider only removes it from its state."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """The emulation of one resource type: either `call` with its mappings, or a `create` function.

    Inputs are mapped to parameters with the same name, in singular or plural, with or without the
    name of the type and a suffix such as Id: `cidrBlock` becomes CidrBlock, `name` of a role
    becomes RoleName, and `restApi` becomes restApiId. Templates such as "{VpcId}" refer to
    parameters, inputs, members of the result, `region` and `account`.
    """

    call: str = ""
    """"service.operation" that creates the resource."""
    id: str = ""
    """Template of the resource ID."""
    body: str = ""
    """Structure parameter (or path, "A.B") that contains the inputs that are not parameters
    themselves.
    """
    names: Mapping[str, str] = field(default_factory=dict)
    """Parameter names of the inputs whose parameter has another name, keyed by input."""
    nested: Mapping[str, str] = field(default_factory=dict)
    """Member names of the properties inside inputs, at any depth, whose member has another name,
    keyed by property; "" omits the value."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Default values, keyed by input, for inputs that are not set."""
    tag_kind: str = ""
    """EC2 only: the resource type in tag specifications and ARNs."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Template of each output, keyed by property. Other outputs are the members of the result with
    the same name.
    """
    prepare: Callable[[CreateRequest], dict[str, Any]] | None = None
    """Returns parameters that differ in structure from the inputs. Inputs that this function takes
    are not mapped by name.
    """
    finish: Callable[[CreateRequest, dict[str, Any]], dict[str, Any] | None] | None = None
    """Makes further calls with the result of `call`; returns additional outputs."""
    variant: Callable[[CreateRequest], "ResourceType | None"] | None = None
    """Returns the emulation of a resource that AWS creates with another operation, or None."""
    create: Callable[[CreateRequest], Created] | None = None
    """Creates the resource instead of `call`; returns the ID and the outputs."""
    update: str | Callable[[ChangeRequest], dict[str, Any] | None] = ""
    """How inputs are changed: `AGAIN`, `FINISH`, "service.operation", or a function that returns
    changed outputs and marks the inputs that it changes as used. By default `AGAIN` for an
    operation such as put_x, and otherwise update_x or modify_x for create_x. A resource whose
    changed inputs are not used is replaced, and the output says so."""
    delete: str | Callable[[ChangeRequest], object] = ""
    """How the resource is deleted: `KEPT`, "service.operation", or a function. By default, the
    opposite of `call`.
    """
    service: str = ""
    """The service whose operations change the tags; by default that of `call`. Without both,
    `update` changes the tags.
    """
    modelled: str = ""
    """The reason why moto cannot create this type, whose requests are only validated; "" for a type
    that is created.
    """


def create(resource_type: ResourceType, request: CreateRequest) -> Created:
    """Create the resource. Raises SandboxError for an unused input or an output that the type does
    not have.
    """
    if (
        resource_type.variant is not None
        and (variant := resource_type.variant(request)) is not None
    ):
        resource_type = variant
    inputs = request.registration.inputs
    properties = schema(request.registration.type)
    if properties is None:
        raise request.error(
            f"the installed pulumi-aws has no resource type {request.registration.type}."
        )
    if not properties.taggable:
        request.tags = {}
    place = {"region": request.region, "account": ACCOUNT}
    members: Mapping[str, Any] = {}
    if resource_type.create is not None:
        identity, extra = resource_type.create(request)
    else:
        members = _call(resource_type, request)
        extra = (
            resource_type.finish(request, dict(members))
            if resource_type.finish is not None
            else None
        ) or {}
        # A result can have a member with the name of an input and another meaning: httpMethod of an
        # integration.
        identity = str(
            _fill(resource_type.id, {**members, **request.sent, **inputs, **extra, **place})
        )
        if "arn" in properties.outputs:
            extra = {**_arn(resource_type, request, identity, members), **extra}
    scope = {**request.sent, **inputs, **members, **extra, **place, "id": identity}
    extra = {
        **extra,
        **{name: _fill(template, scope) for name, template in resource_type.outputs.items()},
    }
    if unused := request.unused() & set(inputs) - PULUMI_ONLY:
        raise request.error(
            f"the emulator does not support these inputs of {request.registration.type}: "
            f"{', '.join(sorted(unused))}. Add them in sandbox/emulator/resources/."
        )
    inner = [
        value for value in (*request.sent.values(), *members.values()) if isinstance(value, dict)
    ]
    request.scope = {
        **{name: item for value in inner for name, item in value.items()},
        **members,
        **request.sent,
    }
    return identity, outputs_of(request, properties, members, extra)


def _call(resource_type: ResourceType, request: CreateRequest) -> Mapping[str, Any]:
    """Send the request, or validate it for a type that moto cannot create. Returns the result."""
    request.sent = request.parameters(
        resource_type.call,
        body=resource_type.body,
        names=resource_type.names,
        nested=resource_type.nested,
        defaults=resource_type.defaults,
        prepared=resource_type.prepare(request) if resource_type.prepare is not None else {},
        skip=PULUMI_ONLY,
        tag_kind=resource_type.tag_kind,
    )
    if resource_type.modelled:
        request.check(resource_type.call, request.sent)
        return {}
    return request.result(resource_type.call, request.call(resource_type.call, request.sent))


def _arn(
    resource_type: ResourceType, request: CreateRequest, identity: str, members: Mapping[str, Any]
) -> dict[str, str]:
    """The ARN in the result, under a name such as Arn or DBInstanceArn. EC2 returns no ARN, so the
    ARN is built from the ID.
    """
    if resource_type.tag_kind:
        return {"arn": request.arn("ec2", f"{resource_type.tag_kind}/{identity}")}
    for name, value in members.items():
        if normalized(name).endswith("arn") and request.is_of_type(
            normalized(name).removesuffix("arn")
        ):
            return {"arn": value}
    return {}


def outputs_of(
    request: CreateRequest, properties: Schema, members: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Members of the result that are properties of the type, then inputs, additional outputs,
    merged tags and region.
    """
    if unknown := sorted(name for name in extra if name not in properties.outputs):
        raise request.error(
            f"{properties.token} of pulumi-aws has no such outputs: {', '.join(unknown)}."
        )
    by_name = {normalized(name): name for name in properties.outputs}
    outputs: dict[str, Any] = {
        by_name[normalized(member)]: value.isoformat() if isinstance(value, datetime) else value
        for member, value in members.items()
        if normalized(member) in by_name and isinstance(value, str | int | float | bool | datetime)
    }
    outputs |= {**request.registration.inputs, **extra}
    if properties.taggable:
        outputs["tagsAll"] = dict(request.tags)
    if "region" in properties.outputs:
        outputs["region"] = request.region
    return outputs


def _fill(template: str, scope: Mapping[str, Any]) -> Any:
    """Fill a template. A template of a single member keeps the type of the member."""
    if template.startswith("{") and template.endswith("}") and template.count("{") == 1:
        return Formatter().get_field(template[1:-1], (), scope)[0]
    return template.format_map(scope)
