"""The making of one resource: its inputs, where it is made, and how Pulumi's names and values become AWS's."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

from sandbox.engine.types import UNKNOWN, Registration
from sandbox.errors import SandboxError

_EVERYWHERE = frozenset({"region", "tags", "tagsAll"})
"""Inputs of nearly every type, which are handled for all rows alike."""


class Make:
    """The making of one resource; a refusal by AWS's model or by the emulator becomes a SandboxError about it."""

    def __init__(
        self,
        registration: Registration,
        *,
        region: str,
        account: str,
        tags: Mapping[str, Any],
        client: Callable[[str, str], Any],
    ) -> None:
        self.registration = registration
        self.region = region
        self.account = account
        self.tags = {str(key): str(value) for key, value in tags.items()}
        self._client = client
        self._left = set(registration.inputs)
        self._property_of: dict[str, str] = {}
        self.sent: Mapping[str, Any] = {}
        """The parameters of the call that created the resource."""
        self._refuse_unknown(registration.inputs, "")

    def peek(self, name: str, default: Any = None) -> Any:
        """An input, without counting it as used."""
        return self.registration.inputs.get(name, default)

    def take(self, name: str, default: Any = None) -> Any:
        """An input, now counted as used."""
        self._left.discard(name)
        return self.registration.inputs.get(name, default)

    def client(self, service: str, region: str = "") -> Any:
        """A boto3 client of the emulator; for the resource's own region unless another one is given."""
        return self._client(service, region or self.region)

    def call(self, call: str, parameters: Mapping[str, Any] | None = None, *, in_region: str = "", **more: Any) -> dict[str, Any]:
        """Call "service.operation", in the resource's own region unless another one is given; raises SandboxError when
        AWS's model or the emulator refuses."""
        service, _, operation = call.partition(".")
        try:
            answer: dict[str, Any] = getattr(self.client(service, in_region), operation)(**{**(parameters or {}), **more})
        except ParamValidationError as exc:
            raise self._refused(operation, str(exc.kwargs.get("report", exc))) from exc
        except ClientError as exc:
            detail = exc.response.get("Error", {})
            code, text = str(detail.get("Code")), str(detail.get("Message"))
            if code == "500":
                raise self.error(f"the emulator itself failed in {operation}: a fault of moto, not of the program.") from exc
            raise self.error(f"AWS (emulated) refuses {operation}: {code}: {text}") from exc
        return answer

    def check(self, call: str, parameters: Mapping[str, Any]) -> None:
        """Only check the parameters against AWS's model; for what moto cannot create."""
        report = ParamValidator().validate(dict(parameters), self.input_shape(call))
        if report.has_errors():
            raise self._refused(call.partition(".")[2], report.generate_report())

    def _refused(self, operation: str, report: str) -> SandboxError:
        """AWS's model names its own parameter; the property of the program is named in front of it."""
        named = re.search(r'parameter:?\s+"?([A-Za-z]+)', report)
        key = self._property_of.get(named[1]) if named else None
        where = f"property {key}: " if key else ""
        return self.error(f"{where}AWS's own model refuses {operation}: {' '.join(report.split())}")

    def parameters(
        self,
        call: str,
        *,
        names: Mapping[str, str] | None = None,
        nested: Mapping[str, str] | None = None,
        skip: Collection[str] = (),
        tag_kind: str = "",
    ) -> dict[str, Any]:
        """The inputs, but for those in `skip`, as parameters of the operation; each one used is counted.

        names: inputs whose AWS name is another one; nested: the same for names inside of them.
        """
        shape = self.input_shape(call)
        members = {flat(name): name for name in shape.members}
        result: dict[str, Any] = {}
        for key, value in self.registration.inputs.items():
            member = (names or {}).get(key) or members.get(flat(key))
            if member not in shape.members or key in skip or key in _EVERYWHERE:
                continue
            self._property_of[member] = key
            result[member] = self.to_api(value, shape.members[member], key, nested or {})
            self._left.discard(key)
        return {**result, **self._tag_parameters(shape, tag_kind)}

    def input_shape(self, call: str) -> StructureShape:
        """The input of "service.operation" as botocore models it."""
        service, _, operation = call.partition(".")
        client = self.client(service)
        shape: StructureShape = client.meta.service_model.operation_model(
            client.meta.method_to_api_mapping[operation]
        ).input_shape
        return shape

    def part(self, call: str, member: str, value: Any, names: Mapping[str, str] | None = None) -> Any:
        """One value as the parameter `member` ("A.B" for a nested one) of an operation."""
        shape: Any = self.input_shape(call)
        for step in member.split("."):
            shape = shape.member if isinstance(shape, ListShape) else shape
            shape = shape.members[step]
        return self.to_api(value, shape, member, names or {})

    def to_api(self, value: Any, shape: Shape, path: str, names: Mapping[str, str]) -> Any:
        """Pulumi's value in the form of a botocore shape; SandboxError for a property or a value AWS does not know."""
        if isinstance(shape, StructureShape):
            return self._structure(value[0] if isinstance(value, list) and len(value) == 1 else value, shape, path, names)
        if isinstance(shape, ListShape):
            items = value if isinstance(value, list) else [value]
            return [self.to_api(item, shape.member, f"{path}[{index}]", names) for index, item in enumerate(items)]
        if isinstance(shape, MapShape):
            return {str(key): self.to_api(item, shape.value, f"{path}.{key}", names) for key, item in value.items()}
        return self._scalar(value, shape, path)

    def _structure(self, value: Any, shape: StructureShape, path: str, names: Mapping[str, str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"property {path} must be an object.")
        members = {flat(name): name for name in shape.members}
        result = {}
        for key, item in value.items():
            member = names[key] if key in names else _member(members, key)
            if member == "":
                continue
            if member is None or member not in shape.members:
                raise self.error(
                    f"property {path}.{key} has no place in AWS's {shape.name}: "
                    "the row in sandbox/emulator/resources/ must say what becomes of it."
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
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        allowed = getattr(shape, "enum", None) or []
        if allowed and text not in allowed:
            raise self.error(f"property {path} is {text!r}; AWS knows {', '.join(allowed)}.")
        return text

    def _tag_parameters(self, shape: StructureShape, tag_kind: str) -> dict[str, Any]:
        """The merged tags in the form that the operation wants, when it takes tags at all."""
        if not self.tags:
            return {}
        if "TagSpecifications" in shape.members and tag_kind:
            return {"TagSpecifications": [{"ResourceType": tag_kind, "Tags": self.tag_list()}]}
        for name in ("Tags", "tags", "TagsList"):
            if name in shape.members:
                member = shape.members[name]
                if isinstance(member, MapShape):
                    return {name: dict(self.tags)}
                if isinstance(member, ListShape) and isinstance(member.member, StructureShape):
                    lower = "key" in member.member.members
                    return {name: self.tag_list(lower) if "Key" in member.member.members or lower else self._kms_tags()}
        return {}

    def tag_list(self, lower: bool = False) -> list[dict[str, str]]:
        """The merged tags as `[{"Key": ..., "Value": ...}]`."""
        key, value = ("key", "value") if lower else ("Key", "Value")
        return [{key: name, value: text} for name, text in self.tags.items()]

    def _kms_tags(self) -> list[dict[str, str]]:
        return [{"TagKey": name, "TagValue": text} for name, text in self.tags.items()]

    def error(self, text: str) -> SandboxError:
        """An error about this resource."""
        return SandboxError(f"{self.registration.urn}: {text}")

    def left_over(self) -> set[str]:
        """Inputs that nothing has used so far."""
        return self._left - _EVERYWHERE

    def _refuse_unknown(self, value: Any, path: str) -> None:
        if value == UNKNOWN:
            raise self.error(f"property {path} is unknown: the resource it comes from has no such output.")
        if isinstance(value, dict):
            for key, item in value.items():
                self._refuse_unknown(item, f"{path}.{key}" if path else key)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._refuse_unknown(item, f"{path}[{index}]")


def _member(members: Mapping[str, str], key: str) -> str | None:
    """The provider calls a list of one thing by its plural and the API by its singular, or the other way round."""
    name = flat(key)
    return members.get(name) or members.get(f"{name}s") or members.get(name.removesuffix("s"))


def flat(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
