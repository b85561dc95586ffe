"""`ResourceType`: the emulation of one resource type by AWS API calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from string import Formatter
from typing import Any, Final

from botocore.model import MapShape
from pulumi_local.schema import Schema, schema
from pulumi_local.types import ACCOUNT

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest, normalized, text

PULUMI_ONLY = frozenset(
    [
        "allowMajorVersionUpgrade",
        "allowOverwrite",
        "applyImmediately",
        "deleteAutomatedBackups",
        "deletionWindowInDays",
        "finalSnapshotIdentifier",
        "forceDelete",
        "forceDestroy",
        "recoveryWindowInDays",
        "skipDestroy",
        "skipFinalSnapshot",
        "triggers",
        "waitForSteadyState",
    ]
)
"""Inputs that control how Pulumi updates or deletes a resource. These inputs are not sent to AWS
when the resource is created.
"""


AGAIN: Final = "again"
"""The calls that create the resource also change it."""
REPLACED: Final = "replaced"
"""The emulator changes nothing in place: the resource is replaced."""
KEPT: Final = "kept"
"""AWS has no call that deletes the resource: the provider only removes it from its state."""


@dataclass(frozen=True)
class Setting:
    """Inputs that an operation of their own sets when the resource is created and when one of them
    changes.

    call: "service.operation". inputs: the inputs. names: members of inputs and of the properties
    inside them whose member has another name. attributes: instead of `inputs`, for operations that
    take attributes as text: the attribute of each input, or its prefix for an input with
    properties. parameters: further parameters, or defaults. removal: the operation that resets the
    inputs. created: `ResourceType.call` also sets the inputs, so the operation only changes them.
    """

    call: str
    inputs: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    removal: str = ""
    created: bool = False


@dataclass(frozen=True)
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
    """Names of parameters and their members, keyed by the inputs and properties, at any depth, that
    have another name; "" omits the value of a property."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Default values, keyed by input, for inputs that are not set."""
    tag_kind: str = ""
    """EC2 only: the resource type in tag specifications and ARNs."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Template of each output, keyed by property. Other outputs are the members of the result with
    the same name.
    """
    prepare: Callable[[CreateRequest], dict[str, Any]] = lambda _request: {}
    """Returns parameters that differ in structure from the inputs. Inputs that this function takes
    are not mapped by name.
    """
    finish: Callable[[CreateRequest, dict[str, Any]], dict[str, Any] | None] = lambda *_: None
    """Makes further calls with the result of `call`; returns additional outputs."""
    settings: tuple[Setting, ...] = ()
    """Inputs that operations of their own set."""
    create: Callable[[CreateRequest], Created] | None = None
    """Creates the resource instead of `call`; returns the ID and the outputs."""
    update: str | Callable[[ChangeRequest], dict[str, Any] | None] = ""
    """How other inputs than those of `settings` are changed: `AGAIN`, `REPLACED`,
    "service.operation", or a function that returns changed outputs and marks the inputs that it
    changes as used. By default `AGAIN` for an operation such as put_x, and otherwise update_x or
    modify_x for create_x. A resource whose changed inputs are not used is replaced, and the output
    says so."""
    delete: str | Sequence[str] | Callable[[ChangeRequest], object] = ""
    """How the resource is deleted: `KEPT`, one or several "service.operation", or a function. By
    default, the opposite of `call`.
    """
    delete_parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the deletion that do not name the resource."""
    service: str = ""
    """The service whose operations change the tags; by default that of `call`. Without both,
    `update` changes the tags.
    """
    modelled: str = ""
    """The reason why moto cannot create this type, whose requests are only validated; "" for a type
    that is created.
    """

    @property
    def id_name(self) -> str:
        """The parameter that is the ID; "" if the ID consists of several or of an input."""
        name = self.id.removeprefix("{").removesuffix("}")
        return name if name.isalnum() else ""


def arn(service: str, resource: str, region: str = "{region}") -> dict[str, str]:
    """Return the template of the output `arn`."""
    return {"arn": f"arn:aws:{service}:{region}:{{account}}:{resource}"}


def global_arn(service: str, resource: str) -> dict[str, str]:
    return arn(service, resource, "")


def create(resource_type: ResourceType, request: CreateRequest) -> Created:
    """Create the resource. Raises SandboxError for an unused input or an output that the type does
    not have.
    """
    inputs, request.names = request.registration.inputs, resource_type.names
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
        extra = resource_type.finish(request, dict(members)) or {}
        # A result can have a member with the name of an input and another meaning: httpMethod of an
        # integration.
        identity = str(
            _fill(resource_type.id, {**members, **request.sent, **inputs, **extra, **place})
        )
        if "arn" in properties.outputs:
            extra = {**_arn(resource_type, request, identity, members), **extra}
    inner = [
        value for value in (*request.sent.values(), *members.values()) if isinstance(value, dict)
    ]
    request.identity = identity
    request.scope = {
        **{name: item for value in inner for name, item in value.items()},
        **members,
        **request.sent,
    }
    change_settings(resource_type, request)
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
    return identity, outputs_of(request, properties, members, extra)


def change_settings(resource_type: ResourceType, request: CreateRequest) -> None:
    """Call the operations of the settings with an input that is set, or changed by an update."""
    for setting in resource_type.settings:
        inputs = setting.inputs or setting.attributes
        values = {name: value for name in inputs if (value := request.peek(name)) is not None}
        changed = request.unused_changes if isinstance(request, ChangeRequest) else None
        if changed.isdisjoint(inputs) if changed is not None else setting.created:
            continue
        if any(values.values()) if setting.removal else values:
            for parameters in _parameters(setting, request, values):
                sent = {**setting.parameters, **parameters}
                named = request.named(setting.call, sent, resource_type.id_name)
                (request.check if resource_type.modelled else request.call)(setting.call, named)
                request.scope = {**named, **request.scope}
        elif changed is not None and setting.removal:
            call = setting.removal
            request.call(call, request.named(call, id_name=resource_type.id_name))
        elif changed is not None:
            continue
        for name in inputs:
            request.take(name)


def _parameters(
    setting: Setting, request: CreateRequest, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if not setting.attributes:
        return [request.parameters(setting.call, names=setting.names, only=values)]
    attributes: dict[str, str] = {}
    for name, value in values.items():
        path = setting.attributes[name]
        pairs = value.items() if isinstance(value, dict) else (("", value),)
        attributes |= {f"{path}.{key}" if key else path: text(item) for key, item in pairs}
    member = request.input_shape(setting.call).members.get("Attributes")
    if member is None:
        return [
            {"AttributeName": name, "AttributeValue": value} for name, value in attributes.items()
        ]
    if isinstance(member, MapShape):
        return [{"Attributes": attributes}]
    return [{"Attributes": [{"Key": name, "Value": value} for name, value in attributes.items()]}]


def _call(resource_type: ResourceType, request: CreateRequest) -> Mapping[str, Any]:
    """Send the request, or validate it for a type that moto cannot create. Returns the result."""
    request.sent = request.parameters(
        resource_type.call,
        body=resource_type.body,
        defaults=resource_type.defaults,
        prepared=resource_type.prepare(request),
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
