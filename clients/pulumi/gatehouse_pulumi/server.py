"""The provider of the package `gatehouse`: the service that the Pulumi engine calls.

Names of methods and messages: proto/pulumi/provider.proto in github.com/pulumi/pulumi.
"""

import json
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from importlib.metadata import version
from typing import Any

import grpc
from gatehouse_client import ApiError
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from gatehouse_pulumi import destinations, issued, objects
from gatehouse_pulumi.console import Console, Fields
from gatehouse_pulumi.errors import PartialError, ProviderError, explained
from gatehouse_pulumi.objects import DATA, Objects, Resource, State, changed

VERSION = version("gatehouse-pulumi")
#: A value that is not known during a preview: sdk/go/common/resource/plugin/rpc.go
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_TYPES: dict[str, type[Objects]] = {
    f"gatehouse:index:{kind.type()}": kind
    for kind in (
        *(objects.Plans, objects.Customers, objects.Limits),
        *(issued.Keys, issued.RoleKeys, issued.Cores, issued.Webhooks),
    )
}
_KINDS = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    """Reports errors to the engine. That of an unexpected error has no values, which could be
    tokens, but the lines of code.
    """

    def reported(provider: "Provider", request: Any, context: Any) -> Any:
        try:
            return method(provider, request, context)
        except PartialError as exc:
            failed = provider_pb2.ErrorResourceInitFailed(
                id=exc.id, properties=encoded(exc.properties), reasons=[str(exc)]
            )
            status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(exc))
            status.details.add().Pack(failed)
            details = (("grpc-status-details-bin", status.SerializeToString()),)
            context.set_trailing_metadata(details)
            message = str(exc)
        except ProviderError as exc:
            message = str(exc)
        except ApiError as exc:
            message = str(explained(exc, _TYPES[_type(request.urn)].renamed))
        except Exception as exc:
            lines = [
                f"{each.filename}:{each.lineno}" for each in traceback.extract_tb(exc.__traceback__)
            ]
            message = f"unexpected {type(exc).__name__} in {' '.join(lines[-3:])}"
        context.abort(grpc.StatusCode.UNKNOWN, message)
        raise AssertionError

    return reported


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """environment: of the process. It has the URL and the credential of the console."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._console: Console | None = None
        #: Of the provider in the state of the stack: another stack can have the same URNs.
        self._id = ""
        #: IDs that the stack has, and those that this process created, by URN.
        self._taken: dict[str, set[str]] = {}
        self._created: dict[str, str] = {}

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        schema = {**DATA["schema"], "version": VERSION}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        """Drops the configuration: the engine would write it to the state."""
        return provider_pb2.CheckResponse(inputs=struct_pb2.Struct())

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        self._id = request.id
        # Without acceptSecrets, the engine marks secrets in the state as they are in the inputs.
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    @_reported
    def Check(self, request: Any, context: Any) -> Any:
        inputs = decoded(request.news)
        failures = [
            provider_pb2.CheckFailure(property=path, reason=reason)
            for path, reason in problems(_type(request.urn), inputs)
        ]
        return provider_pb2.CheckResponse(inputs=encoded(inputs), failures=failures)

    @_reported
    def Diff(self, request: Any, context: Any) -> Any:
        old, new = decoded(request.old_inputs), decoded(request.news)
        outputs = decoded(request.olds)
        self._taken.setdefault(request.urn, set()).add(request.id)
        schema = DATA["schema"]["resources"][_type(request.urn)]["inputProperties"]
        diff, kinds, replaces = {}, provider_pb2.PropertyDiff, list[str]()
        for name in changed(old, new):
            if name in request.ignoreChanges:
                continue
            replaced = bool(schema.get(name, {}).get("replaceOnChanges"))
            replaces += [name] * replaced
            kind = "ADD" if name not in old else "DELETE" if name not in new else "UPDATE"
            value = kinds.Kind.Value(f"{kind}_REPLACE" if replaced else kind)
            diff[name] = kinds(kind=value, inputDiff=True)
        if not replaces and issued_again(old, new, outputs, request.id):
            diff["issued_at"] = kinds(kind=kinds.UPDATE)
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some if diff else none,
            diffs=list(diff),
            detailedDiff=diff,
            hasDetailedDiff=True,
            replaces=replaces,
        )

    @_reported
    def Create(self, request: Any, context: Any) -> Any:
        inputs = decoded(request.properties)
        if request.preview:
            outputs = {**dict.fromkeys(_outputs(request.urn), UNKNOWN), **inputs}
            return provider_pb2.CreateResponse(properties=encoded(outputs))
        taken = self._taken.setdefault(request.urn, set())
        resource = Resource(f"{request.urn} {self._id}", _name(request.urn), taken)
        id, outputs = self._objects(request.urn).create(resource, inputs)
        self._created[request.urn] = id
        return provider_pb2.CreateResponse(id=id, properties=encoded(outputs))

    @_reported
    def Read(self, request: Any, context: Any) -> Any:
        kind, outputs = self._objects(request.urn), decoded(request.properties)
        kind.console.check_deployment(outputs.get("deployment"))
        found = kind.read(request.id, decoded(request.inputs), outputs)
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=found.id, inputs=encoded(found.inputs), properties=encoded(found.outputs)
        )

    @_reported
    def Update(self, request: Any, context: Any) -> Any:
        inputs = decoded(request.news)
        old = State(request.id, decoded(request.old_inputs), decoded(request.olds))
        if request.preview:
            again = issued_again(old.inputs, inputs, old.outputs, request.id)
            # An omitted argument gets its default.
            omitted = old.inputs.keys() - inputs.keys()
            names = {"version", *(_ISSUED if again else ()), *omitted}
            unknown = dict.fromkeys(names & old.outputs.keys(), UNKNOWN)
            outputs = {**old.outputs, **unknown, **inputs}
            return provider_pb2.UpdateResponse(properties=encoded(outputs))
        kind = self._objects(request.urn)
        kind.console.check_deployment(old.outputs.get("deployment"))
        outputs = kind.update(Resource(request.urn, _name(request.urn)), old, inputs)
        return provider_pb2.UpdateResponse(properties=encoded(outputs))

    @_reported
    def Delete(self, request: Any, context: Any) -> Any:
        outputs, kind = decoded(request.properties), self._objects(request.urn)
        kind.console.check_deployment(outputs.get("deployment"))
        created = self._created.get(request.urn)
        # A forced replacement shortly after an interrupted creation finds the same object.
        if created != request.id:
            kind.delete(State(request.id, {}, outputs), replaced=created is not None)
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def _objects(self, urn: str) -> Objects:
        with self._lock:
            if self._console is None:
                self._console = Console.connect(self._environment)
            return _TYPES[_type(urn)](self._console)


_ISSUED = ("key_id", "issued_at", "destination_version", "written_id")


def issued_again(old: Fields, new: Fields, outputs: Fields, id: str) -> bool:
    """True if an update creates or writes a token."""
    if "written_id" not in outputs:
        return False
    written = outputs["written_id"] == outputs.get("key_id", id) and not outputs.get("pending")
    moved = old.get("destination") != new.get("destination")
    return not written or moved or issued.is_due(outputs, new)


def problems(token: str, inputs: Fields) -> Iterator[tuple[str, str]]:
    """Invalid arguments, with the reason."""
    schema = DATA["schema"]["resources"][token]
    properties = schema["inputProperties"]
    for name in schema["requiredInputs"]:
        if name not in inputs:
            yield name, "is missing"
    for name, value in inputs.items():
        if name not in properties:
            names = ", ".join(sorted(properties))
            yield name, f"is not an argument of {token.rpartition(':')[2]}. Arguments: {names}"
        else:
            yield from _mismatches(name, value, properties[name])
            values = DATA["values"][token].get(name)
            for item in value if isinstance(value, list) else [value]:
                if values and item not in (*values, UNKNOWN):
                    yield name, f"must be one of {', '.join(values)}"
    target = inputs.get("destination")
    if isinstance(target, dict) and len(target.keys() & set(destinations.KINDS)) != 1:
        yield "destination", f"needs exactly one of {', '.join(destinations.KINDS)}"


def _mismatches(path: str, value: Any, schema: Fields) -> Iterator[tuple[str, str]]:
    """The parts of a value that do not have the type of the schema."""
    if value == UNKNOWN:
        return
    if "$ref" in schema:
        schema = DATA["schema"]["types"][schema["$ref"].removeprefix("#/types/")]
    kind = _KINDS[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        article = "an" if schema["type"][0] in "aeio" else "a"
        yield path, f"must be {article} {schema['type']}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _mismatches(f"{path}[{index}]", item, schema["items"])
    elif isinstance(value, dict):
        properties = schema.get("properties")
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name}", "is missing"
        for name, item in value.items():
            if properties is None:
                yield from _mismatches(f"{path}.{name}", item, schema["additionalProperties"])
            elif name not in properties:
                yield f"{path}.{name}", f"is unknown. Known: {', '.join(properties)}"
            else:
                yield from _mismatches(f"{path}.{name}", item, properties[name])


def _outputs(urn: str) -> list[str]:
    return list(DATA["schema"]["resources"][_type(urn)]["properties"])


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def encoded(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


def decoded(struct: struct_pb2.Struct) -> Fields:
    """Python values, without nulls and internal properties. Whole numbers are integers."""
    values: Fields = _whole(MessageToDict(struct))
    return {name: value for name, value in values.items() if not name.startswith("__")}


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def main() -> None:
    """Serves the engine: prints the port and runs until the engine ends."""
    engine = os.getppid()
    server = grpc.server(futures.ThreadPoolExecutor(16))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(os.environ), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # An engine that was killed does not end the process.
    while server.wait_for_termination(timeout=1) and os.getppid() == engine:
        pass


if __name__ == "__main__":
    main()
