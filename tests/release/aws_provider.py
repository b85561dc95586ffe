"""An AWS provider for the real Pulumi engine, `pulumi-resource-aws` on PATH, that derives outputs
from inputs. It reports each operation and read, also of previews, to the fake account at
AWS_ENDPOINT_URL, which may fail it, and determines what AWS knows and the program does not.
"""

import http.client
import json
import os
import threading
from collections.abc import Iterable
from concurrent import futures
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pulumi_local.engine.steps import changed_properties, keeps_name, replaces
from pulumi_local.outputs.providers import FakeProvider, PreviewProvider
from pulumi_local.types import UNKNOWN, Registration
from pulumi_local.values import ARCHIVE, ASSET, SIGNATURE, decode

PROVIDER = "provider"
TASK_DEFINITION, FUNCTION = "aws:ecs/taskDefinition:TaskDefinition", "aws:lambda/function:Function"


def registration(urn: str, inputs: struct_pb2.Struct) -> Registration:
    type_, _, name = urn.split("::", 2)[2].partition("::")
    hashed = struct_pb2.Struct()
    hashed.CopyFrom(inputs)
    _replace_files(hashed.fields.values())
    return Registration(
        urn, type_.rpartition("$")[2], name, True, "", decode(hashed)[0], provider=f"{PROVIDER}::id"
    )


def _replace_files(values: Iterable[struct_pb2.Value]) -> None:
    """Replace assets and archives with their hashes: the state contains no content."""
    for value in values:
        fields = value.struct_value.fields if value.HasField("struct_value") else {}
        if SIGNATURE in fields and fields[SIGNATURE].string_value in (ASSET, ARCHIVE):
            value.string_value = fields["hash"].string_value
        else:
            _replace_files([*fields.values(), *value.list_value.values])


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Names of methods and messages: proto/pulumi/provider.proto in github.com/pulumi/pulumi."""

    def __init__(self) -> None:
        self._previews, self._fakes = PreviewProvider(), FakeProvider()
        self._inputs: dict[str, Any] = {}
        self._lock = threading.Lock()

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version("pulumi_aws"))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse()

    def Configure(self, request: Any, context: Any) -> Any:
        self._inputs = decode(request.args)[0]
        declared = Registration(PROVIDER, "pulumi:providers:aws", "aws", True, "", self._inputs)
        for provider in (self._previews, self._fakes):
            provider.create(declared)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True
        )

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        old, new = (
            registration(request.urn, request.old_inputs),
            registration(request.urn, request.news),
        )
        changed = changed_properties(old.inputs, new.inputs)
        replaced = [name for name in changed if replaces(new.type, name)]
        kind = (
            provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        )
        return provider_pb2.DiffResponse(
            changes=kind,
            diffs=changed,
            replaces=replaced,
            deleteBeforeReplace=bool(replaced) and keeps_name(old, new),
        )

    def Create(self, request: Any, context: Any) -> Any:
        new = registration(request.urn, request.properties)
        with self._lock:
            provider = self._previews if request.preview else self._fakes
            identity, outputs = provider.create(new)
        if new.type == FUNCTION:
            outputs["version"] = UNKNOWN if request.preview else "1"
        arn = str(outputs.get("arn", ""))
        reply = report("create", new, identity, context, arn=arn, preview=request.preview)
        if not request.preview:
            identity = reply.get("id", identity)
            outputs = {key: {} if value == UNKNOWN else value for key, value in outputs.items()}
            outputs |= reply.get("outputs", {})
            if new.type == TASK_DEFINITION:
                family = outputs["arn"].rpartition(":")[0]
                outputs |= {"revision": reply["number"], "arn": f"{family}:{reply['number']}"}
        computed = {key: value for key, value in outputs.items() if key not in new.inputs}
        return _with(provider_pb2.CreateResponse(id=identity), request.properties, computed)

    def Update(self, request: Any, context: Any) -> Any:
        new, old = registration(request.urn, request.news), decode(request.olds)[0]
        with self._lock:
            _, outputs = self._fakes.create(new)
        report("update", new, request.id, context, preview=request.preview)
        computed = {
            key: old.get(key, value) for key, value in outputs.items() if key not in new.inputs
        }
        if "tagsAll" in outputs:
            computed["tagsAll"] = outputs["tagsAll"]
        if new.type == FUNCTION:  # An update publishes a version.
            computed["version"] = UNKNOWN if request.preview else str(int(old["version"]) + 1)
        return _with(provider_pb2.UpdateResponse(), request.news, computed)

    def Read(self, request: Any, context: Any) -> Any:
        known = registration(request.urn, request.inputs)
        arn = str(request.properties["arn"]) if "arn" in request.properties else ""
        reply = report("read", known, request.id, context, arn=arn)
        changes = reply.get("outputs", {})
        if not request.properties.fields:  # an import
            request.inputs.update(reply["inputs"])
            with self._lock:
                _, outputs = self._fakes.create(registration(request.urn, request.inputs))
            changes = outputs | changes
        inputs = {key: value for key, value in changes.items() if key in known.inputs}
        response = provider_pb2.ReadResponse(id=request.id, inputs=request.inputs)
        response.inputs.update(inputs)
        return _with(response, request.properties, changes)

    def Delete(self, request: Any, context: Any) -> Any:
        report("delete", registration(request.urn, request.properties), request.id, context)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        response = provider_pb2.InvokeResponse()
        result = self._fakes.invoke(request.tok, decode(request.args)[0], self._inputs)
        getattr(response, "return").update(result or {})
        return response

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()


def report(
    operation: str,
    resource: Registration,
    identity: str,
    context: Any,
    *,
    arn: str = "",
    preview: bool = False,
) -> dict[str, Any]:
    """Returns the reply of the account: `number` counts the creations of the resource, `id` and
    `outputs` replace the derived ones. An error in it fails the operation.
    """
    row = {
        "operation": operation,
        "preview": preview,
        "urn": resource.urn,
        "type": resource.type,
        "id": identity,
        "arn": arn,
        "inputs": resource.inputs,
    }
    host = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    connection = http.client.HTTPConnection(host)
    connection.request("POST", "/operation", json.dumps(row))
    reply: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    if reply["error"]:
        context.abort(grpc.StatusCode.UNKNOWN, reply["error"])
    return reply


def _with(response: Any, inputs: struct_pb2.Struct, computed: dict[str, Any]) -> Any:
    response.properties.CopyFrom(inputs)
    response.properties.update(computed)
    return response


def main(provider: Provider) -> None:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(Provider())
