"""`CreateRequest` converts the inputs of one resource to AWS API parameters and calls the API."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.parsers import ResponseParserError
from botocore.validate import ParamValidator
from pulumi_local.lists import leaves
from pulumi_local.types import ACCOUNT, UNKNOWN, Registration, Resource

from sandbox.errors import SandboxError

Created: TypeAlias = tuple[str, dict[str, Any]]
"""The ID and the outputs of a created resource."""

_COMMON_INPUTS = frozenset({"region", "tags", "tagsAll"})
"""Inputs that nearly every type has, handled in one place."""

_SUFFIXES = ("document", "id", "name", "arn")


class AwsError(SandboxError):
    """An error response of the emulated AWS. code: the error code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class CreateRequest:
    """One resource to create. Errors from botocore's models and from the emulator become a
    SandboxError with the resource's URN.

    identity: the ID of the resource, as soon as it exists. sent: the parameters of the call that
        created the resource. scope: these parameters and the members of the result. names: default
        of the names of parameters, a field of `ResourceType`.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        region: str,
        tags: Mapping[str, Any],
        client: Callable[[str, str], Any],
    ) -> None:
        self.registration = registration
        self.region = region
        self.tags = {str(key): str(value) for key, value in tags.items()}
        self.identity = ""
        self.sent: Mapping[str, Any] = {}
        self.scope: Mapping[str, Any] = {}
        self.names: Mapping[str, str] = {}
        self._client = client
        self._unused = set(registration.inputs)
        self._input_of: dict[str, str] = {}
        self._type_name = normalized(registration.type.rpartition(":")[2])
        for name, value in registration.inputs.items():
            for path, leaf in leaves(value, name):
                if leaf == UNKNOWN:
                    raise self.error(
                        f"property {path} is unknown: the resource that it comes from has no such "
                        "output."
                    )

    def peek(self, name: str) -> Any:
        """Return an input without marking it as used."""
        return self.registration.inputs.get(name)

    def take(self, name: str, default: Any = None) -> Any:
        """Return an input and mark it as used."""
        self._unused.discard(name)
        return self.registration.inputs.get(name, default)

    def unused(self) -> set[str]:
        return self._unused - _COMMON_INPUTS

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"

    def error(self, message: str) -> SandboxError:
        return SandboxError(f"{self.registration.urn}: {message}")

    def call(
        self,
        call: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        in_region: str = "",
        **more: Any,
    ) -> dict[str, Any]:
        """Call "service.operation", in the region of the resource by default.

        Raises SandboxError if botocore's model or the emulator rejects the parameters.
        """
        service, _, operation = call.partition(".")
        client = self._client(service, in_region or self.region)
        try:
            response: dict[str, Any] = getattr(client, operation)(**{**(parameters or {}), **more})
        except ParamValidationError as exc:
            raise self._invalid(operation, str(exc.kwargs.get("report", exc))) from exc
        except ClientError as exc:
            detail = exc.response.get("Error", {})
            code = str(detail.get("Code"))
            if code == "500":
                raise self._emulator_error(operation) from exc
            reason = f"AWS (emulated) rejects {operation}: {code}: {detail.get('Message')}"
            raise AwsError(self.error(reason).message, code) from exc
        except ResponseParserError as exc:
            # An error page of the server, where the protocol of the service is XML.
            raise self._emulator_error(operation) from exc
        if failed := response.get("Unsuccessful") or response.get("FailedEntries"):
            raise self.error(f"AWS (emulated) rejects {operation}: {failed[0]}")
        return response

    def check(self, call: str, parameters: Mapping[str, Any]) -> None:
        """Validate parameters against botocore's model without a call, for operations that moto
        does not support.
        """
        report = ParamValidator().validate(dict(parameters), self.input_shape(call))
        if report.has_errors():
            raise self._invalid(call.partition(".")[2], report.generate_report())

    def parameters(
        self,
        call: str,
        *,
        body: str = "",
        names: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
        prepared: Mapping[str, Any] | None = None,
        skip: Collection[str] = (),
        only: Collection[str] = (),
        tag_kind: str = "",
    ) -> dict[str, Any]:
        """Convert the inputs that are not used yet to parameters of the operation, and mark them as
        used.

        Inputs without a parameter remain unused. prepared: parameters that need no conversion.
        skip: inputs to omit. only: convert these inputs, also if they are used. The other arguments
        are fields of `ResourceType`.
        """
        shape: Any = self.input_shape(call)
        parameters, names = dict(prepared or {}), self.names if names is None else names
        targets = [(shape, parameters)]
        if body:
            inner, structure = shape, parameters
            for step in body.split("."):
                inner, structure = inner.members[step], structure.setdefault(step, {})
            targets.append((inner, structure))
        for key, value in {**(defaults or {}), **self.registration.inputs}.items():
            used = key in self.registration.inputs and key not in self._unused
            if key in _COMMON_INPUTS or (key not in only if only else key in skip or used):
                continue
            for structure_shape, structure in targets:
                member = names.get(key)
                if member not in structure_shape.members:
                    member = self._parameter(structure_shape, key)
                if member is not None:
                    self._input_of[member] = key
                    structure[member] = self.to_api(
                        value, structure_shape.members[member], key, names
                    )
                    self._unused.discard(key)
                    break
        return {**parameters, **self.tag_parameters(shape, tag_kind)}

    def part(
        self, call: str, member: str, value: Any, names: Mapping[str, str] | None = None
    ) -> Any:
        """Convert one value to the parameter `member` ("A.B" for a nested one, "" for all
        parameters) of an operation.
        """
        shape: Any = self.input_shape(call)
        for step in filter(None, member.split(".")):
            shape = shape.member if isinstance(shape, ListShape) else shape
            shape = shape.members[step]
        return self.to_api(value, shape, member, self.names if names is None else names)

    def input_shape(self, call: str) -> Any:
        """The input shape of "service.operation" in botocore's model; None if the operation has no
        parameters.
        """
        shape: StructureShape | None = self._operation(call).input_shape
        return shape

    def result(self, call: str, response: Mapping[str, Any]) -> Mapping[str, Any]:
        """The created resource in a response: the only structure in the response, or the response
        itself if it has other members."""
        shape = self._operation(call).output_shape
        names = set(shape.members if shape is not None else ()) - {"ClientToken", "tags"}
        value = response.get(names.pop()) if len(names) == 1 else response
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, Mapping) else response

    def named(
        self, call: str, parameters: Mapping[str, Any] | None = None, id_name: str = ""
    ) -> dict[str, Any]:
        """The parameters with those that name the resource: members with the name of a parameter or
        result of its creation, and the ID for the only required member without another value. If
        the optional member `id_name` exists, no other optional member is added.
        """
        shape, named = self.input_shape(call), dict(parameters or {})
        if shape is None:
            return named
        has_id = id_name in shape.members and id_name not in shape.required_members
        for name, member in shape.members.items():
            is_named = name == id_name if has_id else name in self.scope
            is_wanted = is_named and (has_id or member.type_name == "string")
            value = self._known(name, member)
            if value is not None and (is_wanted or name in shape.required_members):
                named.setdefault(name, _of_form(member, value))
        missing = [name for name in shape.required_members if name not in named]
        if len(missing) == 1:
            named[missing[0]] = _of_form(shape.members[missing[0]], self.identity)
        return named

    def _known(self, name: str, member: Shape) -> Any:
        """The parameter or result of the creation with the name of a member, or None."""
        known = {normalized(other): value for other, value in self.scope.items()}
        form = normalized(name)
        value = known.get(form)
        if value is None and isinstance(member, ListShape):
            return known.get(form.removesuffix("s"))
        return value

    def is_of_type(self, prefix: str) -> bool:
        """True if the prefix of an API name, such as "dbinstance" in DBInstanceArn, is the type of
        this resource.
        """
        return prefix == "" or prefix.endswith(self._type_name) or self._type_name.endswith(prefix)

    def to_api(self, value: Any, shape: Shape, path: str, names: Mapping[str, str]) -> Any:
        """Convert a Pulumi value to a botocore shape. Raises SandboxError for a property or value
        that AWS does not have.
        """
        if getattr(shape, "is_document_type", False) and isinstance(value, str):
            return self._json(value, path)  # the provider takes JSON text for a value of any form
        if isinstance(shape, StructureShape):
            return self._structure(value, shape, path, names)
        if isinstance(shape, ListShape):
            items = value if isinstance(value, list) else [value]
            return [
                self.to_api(item, shape.member, f"{path}[{index}]", names)
                for index, item in enumerate(items)
            ]
        if isinstance(shape, MapShape):
            return {
                str(key): self.to_api(item, shape.value, f"{path}.{key}", names)
                for key, item in value.items()
            }
        return self._scalar(value, shape, path)

    def _emulator_error(self, operation: str) -> AwsError:
        reason = f"the emulator failed in {operation}: an error in moto, not in the program."
        return AwsError(self.error(reason).message, "500")

    def _json(self, text: str, path: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise self.error(f"property {path} must be JSON text.") from None

    def tag_list(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        return [{key: name, value: tag} for name, tag in self.tags.items()]

    def _operation(self, call: str) -> Any:
        service, _, operation = call.partition(".")
        meta = self._client(service, self.region).meta
        return meta.service_model.operation_model(meta.method_to_api_mapping[operation])

    def _parameter(self, shape: StructureShape, key: str) -> str | None:
        """The member for an input. The API often adds the type (`name` of a role: RoleName) or a
        suffix (`role`: RoleName).
        """
        name, members = normalized(key), {normalized(member): member for member in shape.members}
        of_type = (
            member
            for form, member in members.items()
            if form.endswith(name) and self.is_of_type(form.removesuffix(name))
        )
        suffixed = (members[name + suffix] for suffix in _SUFFIXES if name + suffix in members)
        return _member(shape, key) or next(of_type, None) or next(suffixed, None)

    def _structure(
        self, value: Any, shape: StructureShape, path: str, names: Mapping[str, str]
    ) -> dict[str, Any]:
        if {"Quantity", "Items"} <= shape.members.keys():  # a list in the API of CloudFront
            items = value.get("items") if isinstance(value, dict) and len(value) == 1 else value
            if isinstance(items, list):
                listed = self.to_api(items, shape.members["Items"], path, names)
                return {"Quantity": len(items), "Items": listed}
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict) and len(shape.members) == 1:
            value = {next(iter(shape.members)): value}
        if not isinstance(value, dict):
            raise self.error(f"property {path} must be an object.")
        result = {}
        for key, item in value.items():
            member = names.get(key)
            if member == "":
                continue
            if member not in shape.members:
                member = _member(shape, key)
            if member is None:
                raise self.error(
                    f"property {path}.{key} has no member in {shape.name} of the AWS API. "
                    "Map the name in sandbox/emulator/resources/."
                )
            result[member] = self.to_api(item, shape.members[member], f"{path}.{key}", names)
        return result

    def _scalar(self, value: Any, shape: Shape, path: str) -> Any:
        kind = shape.type_name
        try:
            if kind in ("integer", "long"):
                return int(value)
            if kind in ("float", "double"):
                return float(value)
        except (TypeError, ValueError):
            raise self.error(f"property {path} must be a number.") from None
        if kind == "boolean":
            return value.lower() == "true" if isinstance(value, str) else bool(value)
        if kind == "blob":
            return value.encode() if isinstance(value, str) else value
        if kind != "string":
            return value
        allowed = getattr(shape, "enum", None) or []
        if allowed and text(value) not in allowed:
            raise self.error(
                f"property {path} is {text(value)!r}; valid values: {', '.join(allowed)}."
            )
        return text(value)

    def tag_parameters(self, shape: StructureShape, tag_kind: str = "") -> dict[str, Any]:
        """The merged tags in the format of the operation; none if the operation accepts no tags."""
        if not self.tags:
            return {}
        if "TagSpecifications" in shape.members and tag_kind:
            return {"TagSpecifications": [{"ResourceType": tag_kind, "Tags": self.tag_list()}]}
        for name in ("Tags", "tags", "TagsList", "ResourceTags"):
            member = shape.members.get(name)
            if isinstance(member, MapShape):
                return {name: dict(self.tags)}
            if isinstance(member, StructureShape):
                return {name: {"Items": self.tag_list()}}
            if isinstance(member, ListShape) and isinstance(member.member, StructureShape):
                forms = (("Key", "Value"), ("key", "value"), ("TagKey", "TagValue"))
                return {
                    name: self.tag_list(
                        *next(form for form in forms if form[0] in member.member.members)
                    )
                }
        return {}

    def _invalid(self, operation: str, report: str) -> SandboxError:
        """An error from botocore's model, with the program input from which the parameter comes."""
        parameter = re.search(r'parameter:?\s+"?([A-Za-z]+)', report)
        key = self._input_of.get(parameter[1]) if parameter else None
        where = f"property {key}: " if key else ""
        return self.error(
            f"{where}invalid parameters for {operation} of the AWS API: {' '.join(report.split())}"
        )


class ChangeRequest(CreateRequest):
    """One resource to change or delete.

    old: the resource before the change. scope: parameters and result of the calls that created it.
    changed: the inputs that differ. unused_changes: the changed inputs that an update must use.
    """

    def __init__(
        self,
        old: Resource,
        registration: Registration,
        *,
        region: str,
        tags: Mapping[str, Any],
        client: Callable[[str, str], Any],
        scope: Mapping[str, Any],
        changed: Collection[str] = (),
        service: str = "",
    ) -> None:
        super().__init__(registration, region=region, tags=tags, client=client)
        self.old = old
        self.identity = old.id
        self.scope = scope
        self.service = service
        self.changed = frozenset(changed)
        self.unused_changes: set[str] = set()
        # An input that the program removed must be reset.
        self._unused |= self.changed & set(old.registration.inputs)

    def has_operation(self, call: str) -> bool:
        service, _, operation = call.partition(".")
        return operation in self._client(service, self.region).meta.method_to_api_mapping


def _of_form(shape: Shape, value: Any) -> Any:
    return [value] if isinstance(shape, ListShape) and not isinstance(value, list) else value


def normalized(name: str) -> str:
    """A name in lowercase and without separators, to match Pulumi's names with names in the AWS
    API.
    """
    return name.replace("_", "").replace("-", "").lower()


def text(value: Any) -> str:
    """A value as the text of an API attribute. Booleans are `true` and `false` in lowercase."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _member(shape: StructureShape, key: str) -> str | None:
    """The member with the name of a property. One of the names can be singular and the other
    plural.
    """
    members = {normalized(name): name for name in shape.members}
    name = normalized(key)
    return members.get(name) or members.get(f"{name}s") or members.get(name.removesuffix("s"))
