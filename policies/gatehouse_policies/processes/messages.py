"""Encodes resources as messages of the Analyzer protocol, like the Pulumi engine.

Source: sdk/go/common/resource/plugin/rpc.go and analyzer_plugin.go of pulumi/pulumi.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from pulumi.runtime.proto import analyzer_pb2 as proto
from pulumi_local.types import Deployment, Registration, Resource
from pulumi_local.values import properties, seconds

from gatehouse_policies.analysis.resources import ACCOUNT_OF_CHECK

_FACTS = ("urn", "type", "name", "custom", "parent", "external", "remote", "source", "aliases")


@dataclass(frozen=True)
class Messages:
    """The messages of one deployment, encoded once for all packs. The check does not decode them.

    root: URN of the stack.
    registrations: the resources. Of another process, they have no inputs and options.
    requests: for Analyze: the stack, then the inputs of each resource before it is created. As in
        the engine, resources that are only read are in `stack` only (step_generator.go).
    stack: for AnalyzeStack: outputs, parents and dependencies of every resource.
    unevaluated: what no rule evaluates, one sentence for each.
    """

    project: str
    stack_name: str
    root: str
    registrations: tuple[Registration, ...]
    requests: tuple[bytes, ...]
    stack: bytes
    unevaluated: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Deployment, account: str = "") -> "Messages":
        """account: that of invented ARNs, for providers without allowedAccountIds."""
        encoder = _Encoder(deployment, account)
        resources = (_stack(deployment), *deployment.resources)
        return cls(
            deployment.project,
            deployment.stack,
            deployment.stack_urn,
            tuple(resource.registration for resource in deployment.resources),
            tuple(
                encoder.analyze_request(resource.registration).SerializeToString()
                for resource in resources
                if not resource.registration.external
            ),
            proto.AnalyzeStackRequest(
                resources=map(encoder.stack_resource, resources)
            ).SerializeToString(),
            tuple(_unevaluated(deployment)),
        )

    @property
    def urns(self) -> set[str]:
        return {self.root, *(registration.urn for registration in self.registrations)}

    @property
    def managed_urns(self) -> list[str]:
        """The URN of each of `requests`."""
        managed = (item.urn for item in self.registrations if not item.external)
        return [self.root, *managed]

    def encoded(self) -> bytes:
        """The messages as bytes, for `decoded` in another process."""
        names = {"project": self.project, "stack_name": self.stack_name, "root": self.root}
        facts = [{name: getattr(item, name) for name in _FACTS} for item in self.registrations]
        header = json.dumps([names, facts, self.unevaluated, len(self.requests)]).encode()
        parts = (header, *self.requests, self.stack)
        return b"".join(len(part).to_bytes(8, "big") + part for part in parts)

    @classmethod
    def decoded(cls, data: bytes) -> "Messages":
        source = BytesIO(data)

        def part() -> bytes:
            return source.read(int.from_bytes(source.read(8), "big"))

        names, facts, unevaluated, count = json.loads(part())
        registrations = tuple(Registration(**item, inputs={}) for item in facts)
        requests = tuple(part() for _ in range(count))
        stack = part()
        return cls(
            **names,
            registrations=registrations,
            requests=requests,
            stack=stack,
            unevaluated=tuple(unevaluated),
        )


class _Encoder:
    def __init__(self, deployment: Deployment, account: str) -> None:
        invented = {ACCOUNT_OF_CHECK: account}
        self._root = deployment.stack_urn
        used = {_provider_urn(resource.registration) for resource in deployment.resources}
        self._providers = {
            provider.urn: proto.AnalyzerProviderResource(
                urn=provider.urn,
                type=provider.type,
                name=provider.name,
                properties=properties(
                    provider.inputs
                    if provider.inputs.get("allowedAccountIds")
                    else {**invented, **provider.inputs},
                    provider.secret_inputs,
                ),
            )
            for provider in (resource.registration for resource in deployment.resources)
            if provider.urn in used
        }

    def analyze_request(self, registration: Registration) -> proto.AnalyzeRequest:
        return proto.AnalyzeRequest(
            urn=registration.urn,
            type=registration.type,
            name=registration.name,
            properties=properties(registration.inputs, registration.secret_inputs),
            options=self._options(registration),
            provider=self._providers.get(_provider_urn(registration)),
        )

    def stack_resource(self, resource: Resource) -> proto.AnalyzerResource:
        registration = resource.registration
        secrets = [*registration.secret_inputs, *registration.additional_secret_outputs]
        return proto.AnalyzerResource(
            urn=registration.urn,
            type=registration.type,
            name=registration.name,
            # The outputs of a provider contain the ID.
            properties=properties(
                {"id": resource.id, **resource.outputs} if resource.id else resource.outputs,
                secrets,
            ),
            options=self._options(registration),
            provider=self._providers.get(_provider_urn(registration)),
            parent=self._parent(registration),
            dependencies=list(registration.dependencies),
            propertyDependencies={
                name: proto.AnalyzerPropertyDependencies(urns=list(urns))
                for name, urns in registration.property_dependencies.items()
                if urns
            },
        )

    def _options(self, registration: Registration) -> proto.AnalyzerResourceOptions:
        timeouts = {name: seconds(text) for name, text in registration.custom_timeouts.items()}
        return proto.AnalyzerResourceOptions(
            protect=registration.protect,
            ignoreChanges=list(registration.ignore_changes),
            deleteBeforeReplace=bool(registration.delete_before_replace),
            deleteBeforeReplaceDefined=registration.delete_before_replace is not None,
            additionalSecretOutputs=list(registration.additional_secret_outputs),
            aliases=list(registration.aliases),
            customTimeouts=proto.AnalyzerResourceOptions.CustomTimeouts(**timeouts),
            parent=self._parent(registration),
        )

    def _parent(self, registration: Registration) -> str:
        return registration.parent or ("" if registration.urn == self._root else self._root)


RUNS_CODE = ("command:", "pulumi-python:dynamic")
"""Types of resources that run a command or Python code, which can change anything."""


def _unevaluated(deployment: Deployment) -> Iterator[str]:
    yield from deployment.environment_calls
    for registration in (resource.registration for resource in deployment.resources):
        place = f"{registration.source} " if registration.source else ""
        if registration.type.startswith(RUNS_CODE):
            yield f"{place}{registration.name} ({registration.type}) runs code"
        if registration.ignore_changes:
            names = ", ".join(registration.ignore_changes)
            yield (
                f"{place}{registration.name} ignores changes of {names}, so that the deployed "
                f"values can differ"
            )


def _stack(deployment: Deployment) -> Resource:
    name = f"{deployment.project}-{deployment.stack}"
    urn = deployment.stack_urn
    stack = Registration(
        urn=urn, type="pulumi:pulumi:Stack", name=name, custom=False, parent="", inputs={}
    )
    return Resource(stack, "", deployment.exports)


def _provider_urn(registration: Registration) -> str:
    return registration.provider.rpartition("::")[0]
