"""The part of the Pulumi engine that calls a provider: one resource at a time, over gRPC, with the
state that the engine would keep.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from gatehouse_pulumi.server import decoded, encoded
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

PLUGIN = Path(sys.executable).with_name("pulumi-resource-gatehouse")


class Failed(Exception):
    """An operation that failed. The text is that which the engine shows."""


@dataclass
class Row:
    """A resource in the state. unfinished: the reasons for which its last operation failed."""

    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    unfinished: tuple[str, ...] = ()


@dataclass
class Engine:
    stub: provider_pb2_grpc.ResourceProviderStub
    process: subprocess.Popen[str]
    variables: Mapping[str, str]
    folder: Path
    shown: list[str]
    state: dict[str, Row] = field(default_factory=dict)

    def urn(self, kind: str, name: str) -> str:
        return f"urn:pulumi:dev::tests::gatehouse:index:{kind}::{name}"

    def up(self, kind: str, name: str, /, **inputs: Any) -> Row:
        """Deploys one resource. Raises Failed."""
        urn = self.urn(kind, name)
        old = self.state.get(urn)
        inputs = self.checked(urn, inputs)
        if old is None:
            self.state[urn] = self._create(urn, inputs)
            return self.state[urn]
        diff = self.diff(kind, name, **inputs)
        if diff.replaces:
            return self.replace(kind, name, **inputs)
        if diff.diffs or old.unfinished:
            self.state[urn] = self._update(urn, old, inputs)
        else:
            old.inputs = inputs
        return self.state[urn]

    def replace(self, kind: str, name: str, /, **inputs: Any) -> Row:
        """Replaces a resource: the new object exists before the old one is deleted."""
        urn = self.urn(kind, name)
        old = self.state[urn]
        self.state[urn] = self._create(urn, self.checked(urn, inputs))
        self._delete(urn, old)
        return self.state[urn]

    def checked(self, urn: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        news = encoded(inputs)
        reply = self._call(self.stub.Check, provider_pb2.CheckRequest(urn=urn, news=news))
        if reply.failures:
            raise Failed("; ".join(f"{each.property} {each.reason}" for each in reply.failures))
        return decoded(reply.inputs)

    def diff(self, kind: str, name: str, /, **inputs: Any) -> Any:
        urn = self.urn(kind, name)
        old = self.state[urn]
        request = provider_pb2.DiffRequest(
            urn=urn,
            id=old.id,
            olds=encoded(old.outputs),
            old_inputs=encoded(old.inputs),
            news=encoded(inputs),
        )
        return self._call(self.stub.Diff, request)

    def preview(self, kind: str, name: str, /, **inputs: Any) -> dict[str, Any]:
        urn = self.urn(kind, name)
        request = provider_pb2.CreateRequest(urn=urn, properties=encoded(inputs), preview=True)
        return decoded(self._call(self.stub.Create, request).properties)

    def _create(self, urn: str, inputs: dict[str, Any]) -> Row:
        request = provider_pb2.CreateRequest(urn=urn, properties=encoded(inputs))
        try:
            reply = self._call(self.stub.Create, request)
        except _Partial as exc:
            self.state[urn] = Row(exc.id, inputs, exc.outputs, (str(exc),))
            raise Failed(str(exc)) from None
        return Row(reply.id, inputs, decoded(reply.properties))

    def _update(self, urn: str, old: Row, inputs: dict[str, Any]) -> Row:
        request = provider_pb2.UpdateRequest(
            urn=urn,
            id=old.id,
            olds=encoded(old.outputs),
            old_inputs=encoded(old.inputs),
            news=encoded(inputs),
        )
        try:
            reply = self._call(self.stub.Update, request)
        except _Partial as exc:
            self.state[urn] = Row(old.id, inputs, exc.outputs, (str(exc),))
            raise Failed(str(exc)) from None
        return Row(old.id, inputs, decoded(reply.properties))

    def refresh(self, kind: str, name: str) -> Row | None:
        """The resource as it is, or None if it no longer exists."""
        urn = self.urn(kind, name)
        old = self.state[urn]
        found = self._read(urn, old.id, old)
        if found is None:
            del self.state[urn]
        else:
            self.state[urn] = found
        return found

    def import_(self, kind: str, name: str, id: str) -> Row | None:
        urn = self.urn(kind, name)
        found = self._read(urn, id, Row(id, {}, {}))
        if found is not None:
            self.state[urn] = found
        return found

    def _read(self, urn: str, id: str, row: Row) -> Row | None:
        request = provider_pb2.ReadRequest(
            urn=urn, id=id, inputs=encoded(row.inputs), properties=encoded(row.outputs)
        )
        reply = self._call(self.stub.Read, request)
        return Row(reply.id, decoded(reply.inputs), decoded(reply.properties)) if reply.id else None

    def destroy(self, kind: str, name: str) -> None:
        """As `pulumi destroy`, which starts a provider of its own."""
        urn = self.urn(kind, name)
        with running(self.variables, self.folder, self.shown) as other:
            other._delete(urn, self.state[urn])
        del self.state[urn]

    def _delete(self, urn: str, row: Row) -> None:
        properties = encoded(row.outputs)
        request = provider_pb2.DeleteRequest(urn=urn, id=row.id, properties=properties)
        self._call(self.stub.Delete, request)

    def _call(self, method: Any, request: Any) -> Any:
        self.shown.append(str(request))
        try:
            reply = method(request, timeout=60)
        except grpc.RpcError as exc:
            call: Any = exc
            self.shown.append(call.details())
            raise _failure(call) from None
        self.shown.append(str(reply))
        return reply


class _Partial(Exception):
    def __init__(self, failed: Any) -> None:
        super().__init__("; ".join(failed.reasons))
        self.id, self.outputs = failed.id, decoded(failed.properties)


def _failure(call: Any) -> Exception:
    for name, value in call.trailing_metadata():
        if name == "grpc-status-details-bin":
            status, failed = status_pb2.Status(), provider_pb2.ErrorResourceInitFailed()
            status.ParseFromString(value)
            assert status.details[0].Unpack(failed)
            return _Partial(failed)
    return Failed(call.details())


@contextmanager
def running(
    variables: Mapping[str, str], folder: Path, shown: list[str], stack: str = "a"
) -> Iterator[Engine]:
    """A provider process. shown: receives what it sends, and its output. stack: the ID of the
    provider in the state.
    """
    process = subprocess.Popen(
        [PLUGIN, "127.0.0.1:1"],
        cwd=folder,
        env=dict(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            stub.Configure(provider_pb2.ConfigureRequest(id=stack))
            yield Engine(stub, process, variables, folder, shown)
    finally:
        process.kill()
        shown += [text for text in process.communicate() if text]
