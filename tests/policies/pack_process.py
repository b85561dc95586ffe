"""Test harness: evaluates a program of declared resources.

A pack is a process that the harness calls over gRPC as the engine does, or is imported.
`Evaluation` evaluates the rules without a pack. A program is evaluated as a
first preview (outputs unknown) or with all outputs known.
"""

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import pulumi_policy.policy
from gatehouse_policies import catalogue, packs
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack, identifiers_of
from gatehouse_policies.catalogue import PACKS, PACKS_FOLDER, level_config
from gatehouse_policies.configuration import Configuration
from gatehouse_policies.engine.environment import regions_of_process
from gatehouse_policies.engine.guard import Decision, evaluate, violation_text
from gatehouse_policies.engine.rule import Rule
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_local.types import UNKNOWN

from tests.policies.declared import ACCOUNT, Declared, Ref, Unknown

_CALL_TIMEOUT_S = 30.0
_LEVELS = {"advisory": 0, "mandatory": 1, "disabled": 2}
_PROVIDER = {
    "region": "eu-west-1",
    "allowedAccountIds": f'["{ACCOUNT}"]',
    "defaultTags": '{"tags": {"Team": "platform"}}',
}

ORGANIZATION = "o-a1b2c3d4e5"
_STACKS = {"account_stacks": ("gatehouse/prod",)}
CONFIGURED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "GH-ACC-001": _STACKS,
    "GH-COST-001": _STACKS,
    "GH-PUL-003": {"regions": ("eu-west-1", "eu-central-1")},
    "GH-S3-002": _STACKS,
    "GH-TAG-001": {"tags": ("Owner", "DataClass")},
    "GH-VPC-011": _STACKS,
    **{
        rule.id: {"accounts": (ORGANIZATION,)}
        for rule in catalogue.RULES
        if "accounts" in rule.lists
    },
}
"""What the configuration file of the programs sets."""


@dataclass(frozen=True)
class Diagnostic:
    policy: str
    name: str
    level: str
    message: str


class Pack(ABC):
    @abstractmethod
    def call(self, method: str, request: Any) -> Any:
        """Calls a method of the Analyzer protocol."""

    def configure(self, config: Mapping[str, Mapping[str, Any]]) -> None:
        request = analyzer_pb2.ConfigureAnalyzerRequest()
        for rule, values in config.items():
            level = analyzer_pb2.EnforcementLevel.ValueType(_LEVELS[values["enforcementLevel"]])
            request.policyConfig[rule].enforcementLevel = level
            request.policyConfig[rule].properties.update(
                {k: v for k, v in values.items() if k != "enforcementLevel"}
            )
        self.call("Configure", request)

    def check(self, program: Iterable[Declared], known: bool = False) -> list[Diagnostic]:
        """The inputs of each resource, then the outputs of all. Returns all diagnostics."""
        requests = _Requests(tuple(program), known)
        responses = [
            *(self.call("Analyze", requests.analyze(resource)) for resource in requests.program),
            self.call("AnalyzeStack", requests.analyze_stack()),
        ]
        return [
            _diagnostic(diagnostic) for response in responses for diagnostic in response.diagnostics
        ]


class RunningPack(Pack):
    """A context manager that starts a pack as the engine does.

    pack: "security", "resilience" or the folder of another pack. The first two are configured with
    the levels of prod.
    env: replaces the environment variables of the process.
    """

    def __init__(self, pack: str | Path, env: Mapping[str, str] | None = None) -> None:
        folder = pack if isinstance(pack, Path) else PACKS_FOLDER / pack
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(folder)],
            cwd=folder,
            stdout=subprocess.PIPE,
            env=None if env is None else dict(env),
        )
        if self.process.stdout is None:
            raise RuntimeError("the pack has no standard output")
        port = self.process.stdout.readline().decode().strip()
        if not port.isdigit():
            raise RuntimeError(f"the pack {pack} did not start")
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub: Any = analyzer_pb2_grpc.AnalyzerStub(self._channel)
        if isinstance(pack, str):
            self.configure(level_config(pack, "prod"))

    def __enter__(self) -> "RunningPack":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def call(self, method: str, request: Any) -> Any:
        return getattr(self._stub, method)(request, timeout=_CALL_TIMEOUT_S)


class ImportedPack(Pack):
    """A pack in this process, for many checks: it evaluates a program in half the CPU time of
    `RunningPack`.

    pack: "security" or "resilience", configured with the levels of prod.
    """

    def __init__(self, pack: str) -> None:
        sdk: Any = pulumi_policy.policy
        level = pulumi_policy.EnforcementLevel.ADVISORY
        # The first pack installs the selection of policies in the SDK, so policies come first.
        policies = packs.policies(pack, Configuration())
        self._servicer = sdk._PolicyAnalyzerServicer(PACKS[pack], "0.0.1", policies, level)
        self.configure(level_config(pack, "prod"))

    def call(self, method: str, request: Any) -> Any:
        return getattr(self._servicer, method)(request, None)


def urn(resource: Declared) -> str:
    return f"urn:pulumi:prod::gatehouse::{resource.type}::{resource.name}"


def _diagnostic(diagnostic: Any) -> Diagnostic:
    level = {number: name for name, number in _LEVELS.items()}[diagnostic.enforcementLevel]
    message = diagnostic.message.removeprefix(f"{diagnostic.description}\n")
    return Diagnostic(diagnostic.policyName, diagnostic.urn.rpartition("::")[2], level, message)


class Evaluation:
    """Evaluates the rules directly, with the levels of prod: without messages and meta policies."""

    def __init__(self, program: Iterable[Declared], known: bool = False) -> None:
        self._requests = _Requests(tuple(program), known)
        self._stack = Stack(map(self._requests.resource, self._requests.program))

    def decisions(self) -> Iterator[tuple[Rule, Resource, Decision]]:
        """The decisions that are not a pass."""
        for resource in filter(lambda item: item.managed, self._stack):
            for rule in _rules(resource.type, "stack"):
                decision = evaluate(rule, _configured(rule, resource), self._stack)
                if decision != _PASS:
                    yield rule, resource, decision
            for rule, decision in self._of_resource(resource):
                yield rule, resource, decision

    def _of_resource(self, resource: Resource) -> list[tuple[Rule, Decision]]:
        key = _key(resource)
        if key not in _DECISIONS:
            decided = (
                (rule, evaluate(rule, subject, Stack([subject])))
                for rule in _rules(resource.type, "resource")
                for subject in [_configured(rule, resource)]
            )
            _DECISIONS[key] = [(rule, result) for rule, result in decided if result != _PASS]
        return _DECISIONS[key]

    def of_rule(self, rule: Rule) -> Iterator[tuple[Resource, Stack, Decision]]:
        """The decisions of a rule that are not a pass, and what it read."""
        for resource in filter(lambda item: item.managed, self._stack):
            if not rule.types or resource.type in rule.types:
                subject = _configured(rule, resource)
                stack = self._stack if rule.scope == "stack" else Stack([subject])
                decision = evaluate(rule, subject, stack)
                if decision != _PASS:
                    yield subject, stack, decision

    def diagnostics(self) -> list[Diagnostic]:
        return [
            Diagnostic(policy, resource.name, rule.level("prod").value, text)
            for rule, resource, decision in self.decisions()
            for policy, text in (
                *((rule.id, violation_text(each, rule)) for each in decision.violations),
                *(("GH-UNDECIDED", f"{rule.id} {path}") for path in decision.undecided),
                *(("GH-UNDECIDED-ALLOWED", rule.id) for _ in decision.allowed[:1]),
                *(("GH-BROKEN", f"{rule.id} {decision.broken}") for _ in decision.broken[:1]),
            )
        ]

    def decide(self, rule: Rule, subject: Declared) -> Decision:
        """The decision of a rule if this resource replaces the one with the same type and name."""
        resource = self._requests.resource(subject)
        resources = [resource if item.urn == resource.urn else item for item in self._stack]
        assert resources.count(resource) == 1
        return evaluate(rule, _configured(rule, resource), Stack(resources))


_PASS = Decision()
_DECISIONS: dict[str, list[tuple[Rule, Decision]]] = {}
"""The decisions of rules that read one resource and the Regions of the process. Most resources are
in hundreds of programs.
"""


@cache
def _rules(type_: str, scope: str) -> list[Rule]:
    return [
        rule
        for rule in catalogue.enabled("prod")
        if rule.scope == scope and (not rule.types or type_ in rule.types)
    ]


def _configured(rule: Rule, resource: Resource) -> Resource:
    lists = {**rule.lists, **CONFIGURED.get(rule.id, {})}
    return replace(resource, settings=rule.defaults("prod"), lists=lists)


def _key(resource: Resource) -> str:
    fields = (resource.identifiers, resource.property_dependencies, resource.dependencies)
    inputs = (resource.urn, resource.protect, resource.props.plain())
    return repr((inputs, fields, regions_of_process()))


class _Requests:
    def __init__(self, program: tuple[Declared, ...], known: bool) -> None:
        self.program = program
        self.known = known
        self._by_name = {resource.name: resource for resource in program}

    def analyze(self, resource: Declared) -> analyzer_pb2.AnalyzeRequest:
        return analyzer_pb2.AnalyzeRequest(
            **_fields(resource), properties=_struct(self._resolved(resource.inputs))
        )

    def analyze_stack(self) -> analyzer_pb2.AnalyzeStackRequest:
        return analyzer_pb2.AnalyzeStackRequest(
            resources=[self._analyzer_resource(resource) for resource in self.program]
        )

    def _analyzer_resource(self, resource: Declared) -> analyzer_pb2.AnalyzerResource:
        evaluated = self.resource(resource)
        return analyzer_pb2.AnalyzerResource(
            **_fields(resource),
            properties=_struct(self._outputs(resource)),
            dependencies=[
                *evaluated.dependencies,
                *(urn for urns in evaluated.property_dependencies.values() for urn in urns),
            ],
            propertyDependencies={
                key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
                for key, urns in evaluated.property_dependencies.items()
                if urns
            },
        )

    def resource(self, declared: Declared) -> Resource:
        return Resource(
            urn=urn(declared),
            type=declared.type,
            name=declared.name,
            props=Properties(self._resolved(declared.inputs)),
            identifiers=identifiers_of(self._outputs(declared)),
            protect=declared.protect,
            property_dependencies={
                key: tuple(self._dependencies(value)) for key, value in declared.inputs.items()
            },
            dependencies=tuple(urn(self._by_name[name]) for name in declared.depends_on),
            provider=Properties(_PROVIDER, "provider")
            if declared.type.startswith("aws:")
            else None,
        )

    def _outputs(self, resource: Declared) -> dict[str, Any]:
        computed = {**_known_outputs(resource.name), **resource.computed}
        if not self.known:
            computed = dict.fromkeys(computed, UNKNOWN)
        return {**computed, **self._resolved(resource.inputs)}

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Unknown) or (isinstance(value, Ref) and not self.known):
            return UNKNOWN
        if isinstance(value, Ref):
            target = self._by_name[value.to]
            return {**_known_outputs(value.to), **target.computed, **target.inputs}[value.output]
        if isinstance(value, Mapping):
            return {key: self._resolved(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._resolved(inner) for inner in value]
        return value

    def _dependencies(self, value: Any) -> list[str]:
        if isinstance(value, Ref):
            return [urn(self._by_name[value.to])]
        inner = (
            value.values()
            if isinstance(value, Mapping)
            else value
            if isinstance(value, list)
            else ()
        )
        return [dependency for element in inner for dependency in self._dependencies(element)]


def _known_outputs(name: str) -> dict[str, str]:
    return {"id": f"{name}-id", "arn": f"arn:aws:test:eu-west-1:{ACCOUNT}:{name}"}


def _fields(resource: Declared) -> dict[str, Any]:
    options = analyzer_pb2.AnalyzerResourceOptions(protect=resource.protect)
    fields = {
        "type": resource.type,
        "urn": urn(resource),
        "name": resource.name,
        "options": options,
    }
    if resource.type.startswith("aws:"):
        identity = {
            "type": "pulumi:providers:aws",
            "urn": "urn:pulumi:prod::gatehouse::pulumi:providers:aws::main",
            "name": "main",
        }
        fields["provider"] = analyzer_pb2.AnalyzerProviderResource(
            **identity, properties=_struct(_PROVIDER)
        )
    return fields


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(values))
    return struct
