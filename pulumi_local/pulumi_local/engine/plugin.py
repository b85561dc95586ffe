"""A provider plugin of Pulumi as the provider of a program.

Protocol: proto/pulumi/provider.proto in github.com/pulumi/pulumi. The engine starts the program
`pulumi-resource-<package>`, which prints the port of its gRPC server.
"""

import select
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from pulumi_local.child_process import Child, start
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Difference
from pulumi_local.engine.update import PartialError
from pulumi_local.errors import CommandError
from pulumi_local.outputs.providers import PROVIDER_PREFIX, ProviderConfigs
from pulumi_local.types import Registration, Resource
from pulumi_local.values import decode, properties

# The argument of a plugin is the address of the engine, to which it can send log messages.
_NO_ENGINE = "127.0.0.1:1"
_START_S, _CALL_S = 60, 300


class ProviderPlugin:
    """A `ResourceProvider` of one package. Its process runs until `stop`."""

    def __init__(self, package: str, child: Child) -> None:
        self._package = package
        self._child = child
        self._cleanup = ExitStack()
        self._cleanup.callback(child.stop)
        self._providers = ProviderConfigs()

    @classmethod
    def start(
        cls, package: str, *, env: Mapping[str, str], folder: Path, log: Path
    ) -> "ProviderPlugin":
        """Start the plugin, without waiting for it.

        folder: its working directory, to which relative paths in inputs refer. log: file for its
        errors.
        """
        program = f"pulumi-resource-{package}"
        with log.open("ab") as errors:
            child = start(
                *(program, [program, _NO_ENGINE]),
                env=env,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        return cls(package, replace(child, log=log))

    def stop(self) -> None:
        """Idempotent."""
        self._cleanup.close()

    def create(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        """Configure the provider, or create a resource."""
        if registration.type.startswith(PROVIDER_PREFIX):
            return self._configure(registration)
        inputs = properties(registration.inputs)
        request = provider_pb2.CreateRequest(**_names(registration), properties=inputs)
        reply = self._call("Create", request)
        return reply.id, decode(reply.properties)[0]

    def check(self, registration: Registration, old: Resource | None) -> Registration:
        request = provider_pb2.CheckRequest(
            **_names(registration),
            olds=properties(old.registration.inputs if old is not None else {}),
            news=properties(registration.inputs),
        )
        reply = self._call("Check", request)
        if reply.failures:
            failures = "; ".join(f"{each.property} {each.reason}" for each in reply.failures)
            raise CommandError(f"{registration.urn}: {failures}.")
        return replace(registration, inputs=decode(reply.inputs)[0])

    def difference(
        self, old: Resource, registration: Registration, changed: tuple[str, ...]
    ) -> Difference:
        request = provider_pb2.DiffRequest(
            **_state(old),
            olds=properties(old.outputs),
            news=properties(registration.inputs),
            ignoreChanges=registration.ignore_changes,
        )
        reply = self._call("Diff", request)
        if reply.replaces:
            return Difference("replace", tuple(reply.replaces), reply.deleteBeforeReplace)
        some = reply.changes == reply.DIFF_SOME or (reply.changes == reply.DIFF_UNKNOWN and changed)
        return Difference("update", tuple(reply.diffs) or changed) if some else Difference("same")

    def update(
        self, old: Resource, registration: Registration, changed: frozenset[str]
    ) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.UpdateRequest(
            **_state(old), olds=properties(old.outputs), news=properties(registration.inputs)
        )
        return old.id, decode(self._call("Update", request).properties)[0]

    def delete(self, resource: Resource) -> None:
        outputs = properties(resource.outputs)
        self._call("Delete", provider_pb2.DeleteRequest(**_state(resource), properties=outputs))

    def invoke(
        self, token: str, args: dict[str, Any], provider: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        reply = self._call("Invoke", provider_pb2.InvokeRequest(tok=token, args=properties(args)))
        if reply.failures:
            raise CommandError(f"{token}: {'; '.join(each.reason for each in reply.failures)}")
        return decode(getattr(reply, "return"))[0]

    def refresh(self, checkpoint: Checkpoint) -> None:
        """Change the checkpoint to the resources as they are, without those that no longer exist.
        Raises CommandError.
        """
        for entry in checkpoint.begin():
            registration, resource = entry.registration, entry.resource
            if registration.type.startswith(PROVIDER_PREFIX):
                self._configure(registration)
            elif registration.custom and not entry.pending_deletion:
                current = self._read(resource)
                if current is None:
                    checkpoint.remove(entry)
                    continue
                resource = current
            if not entry.pending_deletion:
                checkpoint.register(resource, entry, unfinished=entry.unfinished)

    def _read(self, resource: Resource) -> Resource | None:
        request = provider_pb2.ReadRequest(
            **_names(resource.registration),
            id=resource.id,
            properties=properties(resource.outputs),
            inputs=properties(resource.registration.inputs),
        )
        reply = self._call("Read", request)
        registration = replace(resource.registration, inputs=decode(reply.inputs)[0])
        return Resource(registration, reply.id, decode(reply.properties)[0]) if reply.id else None

    def _configure(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        if registration.type != f"{PROVIDER_PREFIX}{self._package}":
            raise CommandError(
                f"{registration.urn}: only resources of the package {self._package} are supported."
            )
        identity, inputs = self._providers.create(registration)
        names = _names(registration)
        request = provider_pb2.CheckRequest(**names, news=properties(inputs))
        checked = self._call("CheckConfig", request)
        configuration = provider_pb2.ConfigureRequest(**names, id=identity, args=checked.inputs)
        self._call("Configure", configuration)
        return identity, decode(checked.inputs)[0]

    @cached_property
    def _stub(self) -> Any:
        output = self._child.process.stdout
        assert output is not None  # noqa: S101  set by `start`
        ready, _, _ = select.select([output], [], [], _START_S)
        port = output.readline().decode().strip() if ready else ""
        if not port.isdigit():
            raise CommandError(
                f"{self._child.name} did not start. Last lines of its log:\n{self._child.tail()}"
            )
        options = [("grpc.enable_http_proxy", 0)]
        channel = self._cleanup.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", options))
        return provider_pb2_grpc.ResourceProviderStub(channel)

    def _call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._stub, method)(request, timeout=_CALL_S)
        except grpc.RpcError as exc:
            raise _error(exc, getattr(request, "urn", method)) from None


def _names(registration: Registration) -> dict[str, Any]:
    return {"urn": registration.urn, "name": registration.name, "type": registration.type}


def _state(resource: Resource) -> dict[str, Any]:
    """The fields of a request on a resource that exists."""
    inputs = properties(resource.registration.inputs)
    return {**_names(resource.registration), "id": resource.id, "old_inputs": inputs}


def _error(exc: Any, place: str) -> CommandError:
    details = dict(exc.trailing_metadata() or ()).get("grpc-status-details-bin")
    status, failed = status_pb2.Status(), provider_pb2.ErrorResourceInitFailed()
    status.ParseFromString(details or b"")
    if any(detail.Unpack(failed) for detail in status.details):
        reasons = " ".join(failed.reasons)
        return PartialError(f"{place}: {reasons}", failed.id, decode(failed.properties)[0])
    return CommandError(f"{place}: {exc.details() or exc.code().name}")
