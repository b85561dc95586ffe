"""Changes and deletes a resource with AWS API calls, as `ResourceType.update` and
`ResourceType.delete` define.
"""

import re
from collections.abc import Mapping
from typing import Any

from pulumi_local.engine.update import NotUpdatable
from pulumi_local.schema import schema
from pulumi_local.type_tokens import STATEFUL

from sandbox.emulator import tags
from sandbox.emulator.request import AwsError, ChangeRequest, Created
from sandbox.emulator.resource_type import (
    AGAIN,
    KEPT,
    PULUMI_ONLY,
    REPLACED,
    ResourceType,
    change_settings,
    create,
    outputs_of,
)

_ABSENT = re.compile(r"NotFound|NoSuch|NotExist|ResourceNotFound|does not exist")
_MOTO_ERROR = "500"
_UPDATES = ("put_", "set_", "update_", "modify_")
_DELETIONS = (
    ("create_", "delete_"), ("put_", "delete_"), ("set_", "delete_"), ("request_", "delete_"),
    ("register_", "deregister_"), ("associate_", "disassociate_"), ("attach_", "detach_"),
    ("enable_", "disable_"), ("add_", "remove_"),
)  # fmt: skip
"""Prefixes of operations that create a resource, with the prefix of the operation that deletes
it.
"""


def update(resource_type: ResourceType, request: ChangeRequest) -> Created:
    """Change the resource to the inputs of the request.

    Raises NotUpdatable if a changed input cannot be changed in place, and SandboxError if the
    resource also stores data.
    """
    try:
        return _update(resource_type, request)
    except NotUpdatable as reason:
        if request.registration.type in STATEFUL:
            raise request.error(
                f"{reason}, and a replacement would lose its data. Start again: make down, make up"
            ) from None
        raise
    except AwsError as exc:
        if exc.code == _MOTO_ERROR and request.registration.type not in STATEFUL:
            raise NotUpdatable("moto has no such call") from exc
        raise


def _update(resource_type: ResourceType, request: ChangeRequest) -> Created:
    changed, request.names = set(request.changed) - PULUMI_ONLY, resource_type.names
    whole = resource_type.update == AGAIN or not request.service
    if "tagsAll" in changed and not resource_type.modelled and not whole:
        tags.change(request)
    request.unused_changes = changed - {"tags", "tagsAll", "region"}
    extra: Mapping[str, Any] = {}
    change_settings(resource_type, request)
    if request.unused_changes & request.unused() or (
        changed and whole and not resource_type.modelled
    ):
        extra = _change(resource_type, request)
        if leftover := sorted(request.unused_changes & request.unused()):
            raise NotUpdatable(f"the emulator cannot change {', '.join(leftover)} in place")
    properties = schema(request.registration.type)
    assert properties is not None  # noqa: S101 - the resource was created
    kept = {
        name: value
        for name, value in request.old.outputs.items()
        if name not in request.old.registration.inputs
    }
    outputs = outputs_of(request, properties, {}, extra)
    return request.old.id, {**kept, **outputs}


def delete(resource_type: ResourceType, request: ChangeRequest) -> None:
    """Delete the resource, which may have been deleted outside the program."""
    if resource_type.modelled or resource_type.delete == KEPT:
        return
    try:
        if callable(resource_type.delete):
            resource_type.delete(request)
        else:
            operations = resource_type.delete or deletion(resource_type, request)
            for operation in (operations,) if isinstance(operations, str) else operations:
                named = request.named(
                    operation, resource_type.delete_parameters, resource_type.id_name
                )
                request.call(operation, named)
    except AwsError as exc:
        if not _ABSENT.search(f"{exc.code} {exc.message}"):
            raise


def deletion(resource_type: ResourceType, request: ChangeRequest) -> str:
    """The operation that deletes what `call` creates. Raises SandboxError if it is not known."""
    service, _, operation = resource_type.call.partition(".")
    names = [
        after + operation.removeprefix(before)
        for before, after in _DELETIONS
        if operation.startswith(before)
    ]
    for name in names:
        if request.has_operation(f"{service}.{name}"):
            return f"{service}.{name}"
    raise request.error(
        "the emulator cannot delete this type. Set its `delete` in sandbox/emulator/resources/."
    )


def _change(resource_type: ResourceType, request: ChangeRequest) -> Mapping[str, Any]:
    how: Any = resource_type.update or _derived(resource_type, request)
    if how == REPLACED:
        return {}
    if callable(how):
        return how(request) or {}
    if how == AGAIN or resource_type.modelled:
        for name in request.unused_changes - set(request.registration.inputs):
            request.take(name)  # the call sets the whole configuration
        return create(resource_type, request)[1]
    shape = request.input_shape(how)
    prepared = resource_type.prepare(request)
    parameters = request.parameters(
        how,
        body=resource_type.body if resource_type.body in shape.members else "",
        prepared={name: value for name, value in prepared.items() if name in shape.members},
        skip=PULUMI_ONLY,
    )
    parameters = request.named(how, parameters, resource_type.id_name)
    request.sent = {**request.sent, **parameters}
    members = request.result(how, request.call(how, parameters))
    return resource_type.finish(request, {**request.scope, **members}) or {}


def _derived(resource_type: ResourceType, request: ChangeRequest) -> str:
    service, _, operation = resource_type.call.partition(".")
    if resource_type.modelled or operation.startswith(_UPDATES):
        return AGAIN
    for prefix in ("update_", "modify_"):
        name = f"{service}.{prefix}{operation.removeprefix('create_')}"
        if operation.startswith("create_") and request.has_operation(name):
            return name
    names = sorted(request.unused_changes or {"tags"})
    raise NotUpdatable(f"the emulator cannot change {', '.join(names)} in place")
