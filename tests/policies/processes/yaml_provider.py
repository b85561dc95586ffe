"""An AWS provider for `pulumi preview` of a program in YAML, which needs the schema of its types.
The resources have no computed outputs.
"""

import json
from concurrent import futures
from importlib.metadata import version
from typing import Any

import grpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

_TYPES = {"s3/bucket:Bucket": ["acl"], "kms/key:Key": ["enableKeyRotation", "policy"]}


def _schema() -> dict[str, Any]:
    resources = {}
    for name, inputs in _TYPES.items():
        properties = {each: {"$ref": "pulumi.json#/Any"} for each in inputs}
        resources[f"aws:{name}"] = {"inputProperties": properties, "properties": properties}
    return {"name": "aws", "version": version("pulumi_aws"), "resources": resources}


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Names of methods and messages: proto/pulumi/provider.proto in github.com/pulumi/pulumi."""

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version("pulumi_aws"))

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps(_schema()))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True, acceptResources=True)

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Create(self, request: Any, context: Any) -> Any:
        return provider_pb2.CreateResponse(properties=request.properties)


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
