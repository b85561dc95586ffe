"""Runs a pack over a handful of declared resources, as the engine does, so that a rule is tested through the SDK's
own servicer.

For tests here and for tests of rules written elsewhere: the pack is a process, spoken to over gRPC, and every program
is shown to it as a first preview (what AWS will answer is unknown) or with everything known.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from policies.catalogue import level_config

ACCOUNT = "123456789012"
_FOLDER = Path(__file__).parents[1]
_CALL_S = 30.0
_LEVELS = {"advisory": 0, "mandatory": 1, "disabled": 2, "remediate": 3}
_PROVIDER = {"region": "eu-west-1", "allowedAccountIds": f'["{ACCOUNT}"]'}


@dataclass(frozen=True, slots=True)
class Ref:
    """A value that comes from another resource of the program: its `id`, `arn` or another output."""

    to: str
    output: str = "id"


class Unknown:
    """A value that is known in no preview."""

    def __repr__(self) -> str:
        return "Unknown()"


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource as a program writes it; inputs may hold Refs and Unknown(). `computed` are outputs that it does
    not set.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    protect: bool = False
    computed: Mapping[str, Any] = field(default_factory=dict)

    def with_inputs(self, **changed: Any) -> "Declared":
        """The same resource with some inputs changed; None removes one."""
        merged = {key: value for key, value in {**self.inputs, **changed}.items() if value is not None}
        return replace(self, inputs=merged)


@dataclass(frozen=True, slots=True)
class Said:
    """One diagnostic. `name` is the resource's name, "" when it is about the whole stack."""

    policy: str
    name: str
    level: str
    message: str


class RunningPack:
    """A pack that was started as the engine starts it. Use it in a `with` block.

    `pack` is "security", "resilience" or the folder of a pack of one's own; the first two get their levels of
    `environment`. `env` replaces the environment variables of the process.
    """

    def __init__(self, pack: str | Path, environment: str = "prod", env: Mapping[str, str] | None = None) -> None:
        folder = pack if isinstance(pack, Path) else _FOLDER / pack
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
        self.stub: Any = analyzer_pb2_grpc.AnalyzerStub(self._channel)
        if isinstance(pack, str):
            self.configure(level_config(pack, environment))

    def __enter__(self) -> "RunningPack":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._channel.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def configure(self, config: Mapping[str, Mapping[str, Any]]) -> None:
        """Sends levels and settings as --policy-pack-config does."""
        request = analyzer_pb2.ConfigureAnalyzerRequest()
        for rule, values in config.items():
            request.policyConfig[rule].enforcementLevel = analyzer_pb2.EnforcementLevel.ValueType(
                _LEVELS[values["enforcementLevel"]]
            )
            request.policyConfig[rule].properties.update({k: v for k, v in values.items() if k != "enforcementLevel"})
        self.stub.Configure(request, timeout=_CALL_S)

    def check(self, program: Iterable[Declared], known: bool = False) -> list[Said]:
        """Shows a program to the pack: each resource's inputs, then the outputs of all. Returns what it said, in its
        order.
        """
        shown = _Shown(tuple(program), known)
        answers = [self.stub.Analyze(shown.inputs_of(one), timeout=_CALL_S) for one in shown.program]
        answers.append(self.stub.AnalyzeStack(shown.stack(), timeout=_CALL_S))
        return [_said(diagnostic) for answer in answers for diagnostic in answer.diagnostics]

    def remediate(self, program: Iterable[Declared], name: str, known: bool = False) -> dict[str, dict[str, Any]]:
        """Shows one resource of a program to the remediations.

        Returns its inputs after each that changed something, by rule, as they are on the wire.
        """
        shown = _Shown(tuple(program), known)
        one = next(one for one in shown.program if one.name == name)
        answer = self.stub.Remediate(shown.inputs_of(one), timeout=_CALL_S)
        return {row.policyName: json_format.MessageToDict(row.properties) for row in answer.remediations}


def urn(resource: Declared, stack: str = "prod") -> str:
    """The URN that the harness gives a resource."""
    return f"urn:pulumi:{stack}::gatehouse::{resource.type}::{resource.name}"


def _said(diagnostic: Any) -> Said:
    level = {number: name for name, number in _LEVELS.items()}[diagnostic.enforcementLevel]
    message = diagnostic.message.removeprefix(f"{diagnostic.description}\n")
    return Said(diagnostic.policyName, diagnostic.urn.rpartition("::")[2], level, message)


class _Shown:
    """A program with its references resolved, for one way of looking at it."""

    def __init__(self, program: tuple[Declared, ...], known: bool) -> None:
        self.program = program
        self.known = known
        self._by_name = {one.name: one for one in program}

    def inputs_of(self, one: Declared) -> analyzer_pb2.AnalyzeRequest:
        return analyzer_pb2.AnalyzeRequest(
            type=one.type,
            urn=urn(one),
            name=one.name,
            properties=_struct(self._resolved(one.inputs)),
            options=analyzer_pb2.AnalyzerResourceOptions(protect=one.protect),
            provider=_provider(one),
        )

    def stack(self) -> analyzer_pb2.AnalyzeStackRequest:
        return analyzer_pb2.AnalyzeStackRequest(resources=[self._outputs_of(one) for one in self.program])

    def _outputs_of(self, one: Declared) -> analyzer_pb2.AnalyzerResource:
        computed = {"id": f"{one.name}-id", "arn": f"arn:aws:test:eu-west-1:{ACCOUNT}:{one.name}", **one.computed}
        if not self.known:
            computed = dict.fromkeys(computed, UNKNOWN_STRING_VALUE)
        parent = self._by_name.get(one.parent)
        return analyzer_pb2.AnalyzerResource(
            type=one.type,
            urn=urn(one),
            name=one.name,
            properties=_struct({**computed, **self._resolved(one.inputs)}),
            options=analyzer_pb2.AnalyzerResourceOptions(protect=one.protect),
            provider=_provider(one),
            parent=urn(parent) if parent else "",
            propertyDependencies={
                key: analyzer_pb2.AnalyzerPropertyDependencies(urns=self._feeds(value))
                for key, value in one.inputs.items()
                if self._feeds(value)
            },
        )

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Unknown):
            return UNKNOWN_STRING_VALUE
        if isinstance(value, Ref):
            if not self.known:
                return UNKNOWN_STRING_VALUE
            target = self._by_name[value.to]
            known = {"id": f"{value.to}-id", "arn": f"arn:aws:test:eu-west-1:{ACCOUNT}:{value.to}", **target.inputs}
            return known[value.output]
        if isinstance(value, Mapping):
            return {key: self._resolved(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._resolved(inner) for inner in value]
        return value

    def _feeds(self, value: Any) -> list[str]:
        if isinstance(value, Ref):
            return [urn(self._by_name[value.to])]
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        return [found for one in inner for found in self._feeds(one)]


def _provider(one: Declared) -> analyzer_pb2.AnalyzerProviderResource | None:
    if not one.type.startswith("aws:"):
        return None
    type_ = "pulumi:providers:aws"
    name = f"urn:pulumi:prod::gatehouse::{type_}::main"
    return analyzer_pb2.AnalyzerProviderResource(type=type_, urn=name, name="main", properties=_struct(_PROVIDER))


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(values))
    return struct
