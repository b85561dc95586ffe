"""Functions of `apply` that fail with fake values: their results are unknown, as in a preview of
the engine, which does not call them.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pulumi

from pulumi_local.errors import CommandError

ApplyError = Callable[[str, BaseException], None]
"""Called with the URN of the resource whose output was passed, "" for a value that has no resource,
and with the exception."""


@contextlib.contextmanager
def lenient_apply(on_error: ApplyError | None) -> Iterator[None]:
    """Until the end of the block, `apply` returns an unknown output if its function raises an
    exception. Without `on_error`, the exception is an error of the program.
    """
    if on_error is None:
        yield
        return
    original = pulumi.Output.apply

    def apply(
        self: pulumi.Output[Any], func: Callable[[Any], Any], run_with_unknowns: bool = False
    ) -> pulumi.Output[Any]:
        def attempt(value: Any) -> Any:
            try:
                result = func(value)
            except CommandError:
                raise
            except (Exception, SystemExit) as error:
                return _output(_raise(error), self, on_error)
            if isinstance(result, pulumi.Output) or not inspect.isawaitable(result):
                return result
            return _output(result, self, on_error)

        return original(self, attempt, run_with_unknowns)

    setattr(pulumi.Output, "apply", apply)  # noqa: B010  mypy rejects the assignment to a method
    try:
        yield
    finally:
        setattr(pulumi.Output, "apply", original)  # noqa: B010


def _output(
    result: Awaitable[Any], source: pulumi.Output[Any], on_error: ApplyError
) -> pulumi.Output[Any]:
    """The output of an awaitable, unknown if it raises an exception."""

    async def attempt() -> tuple[Any, bool]:
        try:
            return await result, True
        except (Exception, SystemExit) as error:
            urns = sorted(
                [str(await resource.urn.future()) for resource in await source.resources()]
            )
            on_error(urns[0] if urns else "", error)
            return None, False

    attempted = asyncio.ensure_future(attempt())

    async def value() -> Any:
        return (await attempted)[0]

    async def known() -> bool:
        return (await attempted)[1]

    return pulumi.Output(set(), asyncio.ensure_future(value()), asyncio.ensure_future(known()))


async def _raise(error: BaseException) -> Any:
    raise error
