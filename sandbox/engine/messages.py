"""Puts resources into the Analyzer protocol's messages exactly as Pulumi's engine does.

Source: sdk/go/common/resource/plugin/rpc.go and analyzer_plugin.go of pulumi/pulumi.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2 as proto

from sandbox.engine.types import Deployment, Registration, Resource

# sdk/go/common/resource/sig: how assets, archives and secrets are told from plain objects.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_ASSET = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  a marker, not a secret

_STEP = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)')
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def stack_urn(deployment: Deployment) -> str:
    """The URN of the root stack resource, to which a violation without a resource belongs."""
    stack, project = deployment.stack, deployment.project
    return f"urn:pulumi:{stack}::{project}::pulumi:pulumi:Stack::{project}-{stack}"


def resources(deployment: Deployment) -> tuple[Resource, ...]:
    """Everything the engine would show to a pack: the stack itself with its exports, then the program's resources."""
    root = stack_urn(deployment)
    name = f"{deployment.project}-{deployment.stack}"
    stack = Registration(urn=root, type="pulumi:pulumi:Stack", name=name, custom=False, parent="", inputs={})
    return (Resource(stack, "", deployment.exports), *deployment.resources)


def analyze_request(resource: Resource, deployment: Deployment, inputs: dict[str, Any] | None = None) -> proto.AnalyzeRequest:
    """The message for Analyze and Remediate: the inputs of one resource, before it is created.

    inputs: what a remediation made of them; None for what the program wrote.
    """
    asked = resource.registration
    wanted = asked.inputs if inputs is None else inputs
    return proto.AnalyzeRequest(
        urn=asked.urn,
        type=asked.type,
        name=asked.name,
        properties=properties(wanted, asked.secret_inputs),
        options=_options(asked, deployment),
        provider=_provider(asked, deployment),
    )


def stack_request(deployment: Deployment) -> proto.AnalyzeStackRequest:
    """The message for AnalyzeStack.

    The outputs of every resource, with parents, dependencies and property dependencies.
    """
    return proto.AnalyzeStackRequest(resources=[_stack_resource(resource, deployment) for resource in resources(deployment)])


def properties(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> struct_pb2.Struct:
    """A protobuf Struct of plain values; unknowns stay their sentinel string, what `secrets` names is wrapped.

    secrets: property paths such as `password`, `rules[0].key` or `tags["a.b"]`. Internal keys (`__...`) at the top are
    left out.
    """
    plain = {key: _plain(value) for key, value in values.items() if not key.startswith("__")}
    for path in secrets:
        _wrap(plain, [(key or name) if not index else int(index) for key, index, name in _STEP.findall(path)])
    struct = struct_pb2.Struct()
    struct.update(plain)
    return struct


def _stack_resource(resource: Resource, deployment: Deployment) -> proto.AnalyzerResource:
    asked = resource.registration
    secrets = [*asked.secret_inputs, *asked.additional_secret_outputs]
    return proto.AnalyzerResource(
        urn=asked.urn,
        type=asked.type,
        name=asked.name,
        properties=properties(resource.outputs, secrets),
        options=_options(asked, deployment),
        provider=_provider(asked, deployment),
        parent=_parent(asked, deployment),
        dependencies=list(asked.dependencies),
        propertyDependencies={
            name: proto.AnalyzerPropertyDependencies(urns=list(urns))
            for name, urns in asked.property_dependencies.items()
            if urns
        },
    )


def _parent(asked: Registration, deployment: Deployment) -> str:
    root = stack_urn(deployment)
    return asked.parent or ("" if asked.urn == root else root)


def _options(asked: Registration, deployment: Deployment) -> proto.AnalyzerResourceOptions:
    timeouts = {name: _seconds(text) for name, text in asked.custom_timeouts.items()}
    return proto.AnalyzerResourceOptions(
        protect=asked.protect,
        ignoreChanges=list(asked.ignore_changes),
        deleteBeforeReplace=asked.delete_before_replace,
        deleteBeforeReplaceDefined=asked.delete_before_replace,
        additionalSecretOutputs=list(asked.additional_secret_outputs),
        aliases=list(asked.aliases),
        customTimeouts=proto.AnalyzerResourceOptions.CustomTimeouts(
            create=timeouts.get("create", 0.0), update=timeouts.get("update", 0.0), delete=timeouts.get("delete", 0.0)
        ),
        parent=_parent(asked, deployment),
    )


def _provider(asked: Registration, deployment: Deployment) -> proto.AnalyzerProviderResource | None:
    urn = asked.provider.rpartition("::")[0]
    for resource in deployment.resources if urn else ():
        found = resource.registration
        if found.urn == urn:
            secrets = found.secret_inputs
            return proto.AnalyzerProviderResource(
                urn=found.urn, type=found.type, name=found.name, properties=properties(found.inputs, secrets)
            )
    return None


def _seconds(duration: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, pulumi.AssetArchive):
        return {_SIGNATURE: _ARCHIVE, "assets": _plain(value.assets)}
    if isinstance(value, pulumi.FileArchive):
        return {_SIGNATURE: _ARCHIVE, "path": value.path}
    if isinstance(value, pulumi.RemoteArchive):
        return {_SIGNATURE: _ARCHIVE, "uri": value.uri}
    if isinstance(value, pulumi.FileAsset):
        return {_SIGNATURE: _ASSET, "path": str(value.path)}
    if isinstance(value, pulumi.StringAsset):
        return {_SIGNATURE: _ASSET, "text": value.text}
    if isinstance(value, pulumi.RemoteAsset):
        return {_SIGNATURE: _ASSET, "uri": value.uri}
    return value


def _wrap(container: Any, path: list[str | int]) -> None:
    """Wrap the value at `path` as a secret.

    A path that leads nowhere is a property that this view of the resource lacks.
    """
    for depth, step in enumerate(path):
        held = container.get(step) if isinstance(container, dict) else None
        if isinstance(container, list) and isinstance(step, int) and step < len(container):
            held = container[step]
        if held is None:
            return
        if isinstance(held, dict) and held.get(_SIGNATURE) == _SECRET:
            return
        if depth == len(path) - 1:
            container[step] = {_SIGNATURE: _SECRET, "value": held}
        else:
            container = held
