"""Encodes resources as messages of the Analyzer protocol, like the Pulumi engine.

Source: sdk/go/common/resource/plugin/rpc.go and analyzer_plugin.go of pulumi/pulumi.
"""

from pulumi.runtime.proto import analyzer_pb2 as proto

from gatehouse_policies.program.types import Deployment, Registration, Resource
from gatehouse_policies.program.values import properties, seconds


class Messages:
    """The messages of one deployment, encoded once for all packs."""

    def __init__(self, deployment: Deployment) -> None:
        self.root = deployment.stack_urn
        #: The resources that the engine passes to a pack: the stack with its exports, then the
        #: resources of the program.
        self.resources = (_stack(deployment), *deployment.resources)
        used = {_provider_urn(resource.registration) for resource in deployment.resources}
        self._providers = {
            provider.urn: proto.AnalyzerProviderResource(
                urn=provider.urn,
                type=provider.type,
                name=provider.name,
                properties=properties(provider.inputs, provider.secret_inputs),
            )
            for provider in (resource.registration for resource in deployment.resources)
            if provider.urn in used
        }
        #: Each resource with the message for Analyze: its inputs before it is created. As in the
        #: engine, resources that are only read are part of `stack` only (step_generator.go).
        self.inputs = [
            (resource.registration, self._analyze_request(resource.registration))
            for resource in self.resources
            if not resource.registration.external
        ]
        #: The message for AnalyzeStack: outputs, parents and dependencies of every resource.
        self.stack = proto.AnalyzeStackRequest(
            resources=[self._stack_resource(resource) for resource in self.resources]
        )

    def _analyze_request(self, registration: Registration) -> proto.AnalyzeRequest:
        return proto.AnalyzeRequest(
            urn=registration.urn,
            type=registration.type,
            name=registration.name,
            properties=properties(registration.inputs, registration.secret_inputs),
            options=self._options(registration),
            provider=self._providers.get(_provider_urn(registration)),
        )

    def _stack_resource(self, resource: Resource) -> proto.AnalyzerResource:
        registration = resource.registration
        secrets = [*registration.secret_inputs, *registration.additional_secret_outputs]
        return proto.AnalyzerResource(
            urn=registration.urn,
            type=registration.type,
            name=registration.name,
            properties=properties(resource.outputs, secrets),
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
        return registration.parent or ("" if registration.urn == self.root else self.root)


def _stack(deployment: Deployment) -> Resource:
    name = f"{deployment.project}-{deployment.stack}"
    urn = deployment.stack_urn
    stack = Registration(
        urn=urn, type="pulumi:pulumi:Stack", name=name, custom=False, parent="", inputs={}
    )
    return Resource(stack, "", deployment.exports)


def _provider_urn(registration: Registration) -> str:
    return registration.provider.rpartition("::")[0]
