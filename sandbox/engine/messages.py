"""Encodes resources as messages of the Analyzer protocol, like the Pulumi engine.

Source: sdk/go/common/resource/plugin/rpc.go and analyzer_plugin.go of pulumi/pulumi.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2 as proto

from sandbox.engine.types import Deployment, Registration, Resource
from sandbox.engine.values import SECRET, SIGNATURE, encode, seconds

_STEP = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)')


def resources(deployment: Deployment) -> tuple[Resource, ...]:
    """The resources that the engine passes to a pack: the stack with its exports, then the resources of the program."""
    name = f"{deployment.project}-{deployment.stack}"
    stack = Registration(urn=deployment.stack_urn, type="pulumi:pulumi:Stack", name=name, custom=False, parent="", inputs={})
    return (Resource(stack, "", deployment.exports), *deployment.resources)


def analyze_request(resource: Resource, deployment: Deployment, inputs: dict[str, Any] | None = None) -> proto.AnalyzeRequest:
    """The message for Analyze and Remediate: the inputs of one resource before it is created.

    inputs: the remediated inputs; None for the inputs of the program.
    """
    registration = resource.registration
    values = registration.inputs if inputs is None else inputs
    return proto.AnalyzeRequest(
        urn=registration.urn,
        type=registration.type,
        name=registration.name,
        properties=properties(values, registration.secret_inputs),
        options=_options(registration, deployment),
        provider=_provider(registration, deployment),
    )


def stack_request(deployment: Deployment) -> proto.AnalyzeStackRequest:
    """The message for AnalyzeStack: outputs, parents and dependencies of every resource."""
    return proto.AnalyzeStackRequest(resources=[_stack_resource(resource, deployment) for resource in resources(deployment)])


def properties(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> struct_pb2.Struct:
    """Encode values as a protobuf Struct. Unknown values remain the sentinel; internal keys (`__...`) are omitted.

    secrets: paths of values to mark as secret, such as `password`, `rules[0].key` or `tags["a.b"]`.
    """
    plain = {key: encode(value) for key, value in values.items() if not key.startswith("__")}
    for path in secrets:
        _mark_secret(plain, [(key or name) if not index else int(index) for key, index, name in _STEP.findall(path)])
    struct = struct_pb2.Struct()
    struct.update(plain)
    return struct


def _stack_resource(resource: Resource, deployment: Deployment) -> proto.AnalyzerResource:
    registration = resource.registration
    secrets = [*registration.secret_inputs, *registration.additional_secret_outputs]
    return proto.AnalyzerResource(
        urn=registration.urn,
        type=registration.type,
        name=registration.name,
        properties=properties(resource.outputs, secrets),
        options=_options(registration, deployment),
        provider=_provider(registration, deployment),
        parent=_parent(registration, deployment),
        dependencies=list(registration.dependencies),
        propertyDependencies={
            name: proto.AnalyzerPropertyDependencies(urns=list(urns))
            for name, urns in registration.property_dependencies.items()
            if urns
        },
    )


def _parent(registration: Registration, deployment: Deployment) -> str:
    root = deployment.stack_urn
    return registration.parent or ("" if registration.urn == root else root)


def _options(registration: Registration, deployment: Deployment) -> proto.AnalyzerResourceOptions:
    timeouts = {name: seconds(text) for name, text in registration.custom_timeouts.items()}
    return proto.AnalyzerResourceOptions(
        protect=registration.protect,
        ignoreChanges=list(registration.ignore_changes),
        deleteBeforeReplace=registration.delete_before_replace,
        deleteBeforeReplaceDefined=registration.delete_before_replace,
        additionalSecretOutputs=list(registration.additional_secret_outputs),
        aliases=list(registration.aliases),
        customTimeouts=proto.AnalyzerResourceOptions.CustomTimeouts(
            create=timeouts.get("create", 0.0), update=timeouts.get("update", 0.0), delete=timeouts.get("delete", 0.0)
        ),
        parent=_parent(registration, deployment),
    )


def _provider(registration: Registration, deployment: Deployment) -> proto.AnalyzerProviderResource | None:
    urn = registration.provider.rpartition("::")[0]
    for resource in deployment.resources if urn else ():
        provider = resource.registration
        if provider.urn == urn:
            secrets = provider.secret_inputs
            return proto.AnalyzerProviderResource(
                urn=provider.urn, type=provider.type, name=provider.name, properties=properties(provider.inputs, secrets)
            )
    return None


def _mark_secret(container: Any, path: list[str | int]) -> None:
    """Mark the value at `path` as secret, if the path exists."""
    for depth, step in enumerate(path):
        value = container.get(step) if isinstance(container, dict) else None
        if isinstance(container, list) and isinstance(step, int) and step < len(container):
            value = container[step]
        if value is None:
            return
        if isinstance(value, dict) and value.get(SIGNATURE) == SECRET:
            return
        if depth == len(path) - 1:
            container[step] = {SIGNATURE: SECRET, "value": value}
        else:
            container = value
