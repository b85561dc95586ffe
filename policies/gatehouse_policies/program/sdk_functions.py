"""Functions of the Pulumi SDK that take most of the time and the memory of a large program, with
the same results.

docs/decisions/0044-policy-distribution-and-check.md has the measurements. The import fails with an
SDK that lacks a replaced name.
"""

import asyncio
import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import pulumi.runtime.resource
import pulumi.runtime.rpc
from pulumi.output import Output, Unknown, _OutputData
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import SETTINGS

_RESOURCE: Any = pulumi.runtime.resource
_RPC: Any = pulumi.runtime.rpc
_SCALARS = frozenset({str, bool, int, float, type(None)})
_ENGINE = str(Path(__file__).with_name("runner.py"))


def install() -> None:
    """Replace the functions in the SDK."""
    for function, (module, name) in _REPLACED.items():
        setattr(module, name, staticmethod(function) if function is from_input else function)


def resource_output(
    res: Any,
) -> tuple[Callable[[Any, bool, bool, Exception | None], None], Output[Any]]:
    """The output for the URN or the ID of a resource, and the function that resolves the output."""
    future: asyncio.Future[Any] = asyncio.Future()

    def resolve(value: Any, known: bool, secret: bool, error: Exception | None) -> None:
        _resolve(res, future, value, known, secret, (), error)

    return resolve, _output(future)


def transfer_properties(
    res: Any, props: Iterable[str], custom: bool
) -> dict[str, Callable[..., None]]:
    """Set an output on the resource for each of its properties. Returns the functions that resolve
    the outputs.

    The function of the SDK creates four futures, a coroutine and a task for each property, and most
    properties are never read.
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
    """An output that `wait_for_rpcs` does not wait for: the registration of the resource, which it
    waits for, resolves it.
    """
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
        # A set for each output, because the SDK adds resources to the set when it serializes the
        # output.
        resources = {res, *(dependencies or ())}
        future.set_result(
            _OutputData(resources=resources, value=value, is_known=known, is_secret=secret)
        )


def contains_unknowns(val: Any) -> bool:
    """True if a value is unknown or contains an unknown value. The function of the SDK creates a
    reference cycle in each call.
    """
    if type(val) in _SCALARS:
        return False
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
            # `dict.values` does not return the values of output types, which are dictionaries with
            # their own `__getitem__`.
            pending += [item[key] for key in item] if isinstance(item, dict) else item
    return False


def from_input(val: Any) -> Output[Any]:
    """The output of an input. The function of the SDK creates an output, a task and callbacks for
    each value in lists and dictionaries, although most of them contain no outputs."""
    if type(val) in _SCALARS:
        return _resolved(val)
    try:
        snapshot = _snapshot(val)
    except TypeError:
        return _FROM_INPUT(val)

    async def data() -> _OutputData[Any]:
        # Like the SDK, read the values of dictionaries when the event loop runs: the program can
        # change them until then.
        try:
            return _known(_copy_of_plain(snapshot))
        except TypeError:
            return await _FROM_INPUT(snapshot)._data

    return Output._from_data(data())


def create_urn(
    name: Any, type_: Any, parent: Any = None, project: str | None = None, stack: str | None = None
) -> Output[str]:
    """The URN of a resource. The SDK computes it again for each registration, and reads it only if
    there is no monitor.
    """
    if not (isinstance(name, str) and isinstance(type_, str) and isinstance(parent, str)):
        return _CREATE_URN(name, type_, parent, project, stack)
    return _resolved(f"{parent[: parent.rfind('::')]}${type_}::{name}")


def _snapshot(value: Any) -> Any:
    """Like `_copy_of_plain`, with the same objects as values of dictionaries."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return dict(value)
    if kind is list or kind is tuple:
        return kind(map(_snapshot, value))
    raise TypeError(kind)


def _copy_of_plain(value: Any) -> Any:
    """A copy of text, a number, or a container of such values. Raises TypeError for any other
    value.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict and all(type(key) is str for key in value):
        return {key: _copy_of_plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind(map(_copy_of_plain, value))
    raise TypeError(kind)


def _known(value: Any) -> _OutputData[Any]:
    return _OutputData(resources=set(), value=value, is_known=True, is_secret=False)


def _resolved(value: Any) -> Output[Any]:
    future: asyncio.Future[Any] = asyncio.Future()
    future.set_result(_known(value))
    return _output(future)


async def serialize_property(value: Any, *args: Any, **kwargs: Any) -> Any:
    """The value for a request. The function of the SDK compares every text and number with all
    types of inputs.
    """
    if type(value) in _SCALARS and not kwargs:
        return value
    return await _SERIALIZE_PROPERTY(value, *args, **kwargs)


def track(self: Output[Any]) -> None:
    """Adds the output to the outputs that the program waits for. The function of the SDK reads the
    settings for each step.
    """
    outputs: set[Any] = SETTINGS.outputs
    outputs.add(self._data)
    self._data.add_done_callback(functools.partial(_remove_successful, outputs))


def _remove_successful(outputs: set[Any], future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None:
        outputs.discard(future)


def stack_trace() -> source_pb2.StackTrace:
    """The frames of the program below the constructor of a resource, innermost first. The function
    of the SDK also reads the source text of every frame."""
    frame: FrameType | None = sys._getframe(1)
    constructors = (
        0  # `Resource`, `CustomResource` or `ComponentResource`, and the class of the resource
    )
    while frame is not None and constructors < 3:
        constructors += frame.f_code.co_name == "__init__"
        frame = frame.f_back
    frames = []
    while frame is not None and frame.f_code.co_filename != _ENGINE:
        frames.append(_stack_frame(frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return source_pb2.StackTrace(frames=frames)


@functools.lru_cache(maxsize=4096)
def _stack_frame(file: str, line: int) -> source_pb2.StackFrame:
    path = Path(file)
    return source_pb2.StackFrame(
        pc=source_pb2.SourcePosition(uri=path.as_uri(), line=line) if path.is_absolute() else None
    )


_REPLACED: dict[Callable[..., Any], tuple[Any, str]] = {
    stack_trace: (_RESOURCE, "_get_stack_trace"),
    resource_output: (_RESOURCE, "resource_output"),
    transfer_properties: (_RPC, "transfer_properties"),
    contains_unknowns: (_RPC, "contains_unknowns"),
    serialize_property: (_RPC, "serialize_property"),
    create_urn: (_RESOURCE, "create_urn"),
    from_input: (Output, "from_input"),
    track: (Output, "_track"),
}
ORIGINALS = {function: getattr(module, name) for function, (module, name) in _REPLACED.items()}
"""The function of the SDK for each function of this module."""
_SERIALIZE_PROPERTY: Any = ORIGINALS[serialize_property]
_CREATE_URN: Callable[..., Output[str]] = ORIGINALS[create_urn]
_FROM_INPUT: Callable[[Any], Output[Any]] = ORIGINALS[from_input]
