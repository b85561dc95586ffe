"""Functions of the Pulumi SDK that take most of the time and the memory of a large program, with the same results.

docs/decisions/0055-time-of-a-check.md has the measurements. An SDK that lacks a replaced name fails when this module is imported.
"""

import asyncio
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pulumi.runtime.resource
import pulumi.runtime.rpc
from pulumi.output import Output, Unknown, _OutputData
from pulumi.runtime.proto import source_pb2

_RESOURCE: Any = pulumi.runtime.resource
_RPC: Any = pulumi.runtime.rpc


def install() -> None:
    """Replace the functions in the SDK."""
    for function, (module, name) in _REPLACED.items():
        setattr(module, name, function)


class OutstandingOutputs(set[asyncio.Task[Any]]):
    """Passes one task at a time to `wait_for_rpcs` of the SDK.

    `wait_for_rpcs` copies the set, clears it, waits for the first task of the copy, and adds the others again. If each copy
    contains all tasks, the run time grows with the square of the number of tasks.
    """

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return itertools.islice(super().__iter__(), 1)

    def clear(self) -> None:
        for task in list(self):
            self.remove(task)


def resource_output(res: Any) -> tuple[Callable[[Any, bool, bool, Exception | None], None], Output[Any]]:
    """The output for the URN or the ID of a resource, and the function that resolves the output."""
    future: asyncio.Future[Any] = asyncio.Future()

    def resolve(value: Any, known: bool, secret: bool, error: Exception | None) -> None:
        _resolve(res, future, value, known, secret, (), error)

    return resolve, _output(future)


def transfer_properties(res: Any, props: Iterable[str], custom: bool) -> dict[str, Callable[..., None]]:
    """Set an output on the resource for each of its properties. Returns the functions that resolve the outputs.

    The function of the SDK creates four futures, a coroutine and a task for each property, and most properties are never read.
    """
    resolvers: dict[str, Callable[..., None]] = {}
    for name in props:
        if name == "urn" or (name == "id" and custom):
            continue  # `resource_output` creates these outputs
        future: asyncio.Future[Any] = asyncio.Future()
        resolvers[name] = functools.partial(_resolve, res, future)
        res.__dict__[name] = _output(future)
    return resolvers


def _output(future: asyncio.Future[Any]) -> Output[Any]:
    """An output that `wait_for_rpcs` does not wait for: the registration of the resource, which it waits for, resolves it."""
    output: Output[Any] = object.__new__(Output)
    output._data = future
    return output


def _resolve(
    res: Any,
    future: asyncio.Future[Any],
    value: Any,
    known: bool,
    secret: bool,
    dependencies: Iterable[Any] | None,
    error: Exception | None,
) -> None:
    if error is not None:
        future.set_exception(error)
    else:
        # A set for each output, because the SDK adds resources to the set when it serializes the output.
        resources = {res, *(dependencies or ())}
        future.set_result(_OutputData(resources=resources, value=value, is_known=known, is_secret=secret))


def contains_unknowns(val: Any) -> bool:
    """True if a value is unknown or contains an unknown value. The function of the SDK creates a reference cycle in each call."""
    if isinstance(val, Unknown):
        return True
    if not isinstance(val, dict | list):
        return False
    pending: list[Any] = [val]
    visited: set[int] = set()
    while pending:
        item = pending.pop()
        if isinstance(item, Unknown):
            return True
        if isinstance(item, dict | list) and id(item) not in visited:
            visited.add(id(item))
            # `dict.values` does not return the values of output types, which are dictionaries with their own `__getitem__`.
            pending += [item[key] for key in item] if isinstance(item, dict) else item
    return False


def stack_trace() -> source_pb2.StackTrace:
    """The frames below the constructor of a resource, innermost first. The function of the SDK also reads the source text of
    every frame."""
    frame: FrameType | None = sys._getframe(1)
    constructors = 0  # `Resource`, `CustomResource` or `ComponentResource`, and the class of the resource
    while frame is not None and constructors < 3:
        constructors += frame.f_code.co_name == "__init__"
        frame = frame.f_back
    frames = []
    while frame is not None:
        frames.append(source_pb2.StackFrame(pc=_position(frame.f_code.co_filename, frame.f_lineno)))
        frame = frame.f_back
    return source_pb2.StackTrace(frames=frames)


def _position(file: str, line: int) -> source_pb2.SourcePosition | None:
    uri = _uri(file)
    return source_pb2.SourcePosition(uri=uri, line=line) if uri else None


@functools.lru_cache(maxsize=4096)
def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else ""


_REPLACED: dict[Callable[..., Any], tuple[Any, str]] = {
    stack_trace: (_RESOURCE, "_get_stack_trace"),
    resource_output: (_RESOURCE, "resource_output"),
    transfer_properties: (_RPC, "transfer_properties"),
    contains_unknowns: (_RPC, "contains_unknowns"),
}
ORIGINALS = {function: getattr(module, name) for function, (module, name) in _REPLACED.items()}
"""The function of the SDK for each function of this module."""
