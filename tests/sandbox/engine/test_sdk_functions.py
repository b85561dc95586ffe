"""The functions that replace functions of the SDK have the results of the SDK."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pulumi.output import UNKNOWN, Output

from sandbox.engine import sdk_functions

Function = Callable[..., Any]


def both(function: Function) -> pytest.MarkDecorator:
    """Run a test with a function of the SDK and with the function that replaces it."""
    functions = [sdk_functions.ORIGINALS[function], function]
    return pytest.mark.parametrize("function", functions, ids=["sdk", "replacement"])


class Resource:
    """A resource without registration."""


Resolved = tuple[Any, bool, bool, set[Any]]


async def read(output: Output[Any]) -> Resolved:
    data = await output._data
    return data.value, data.is_known, data.is_secret, data.resources


@both(sdk_functions.transfer_properties)
def test_properties_are_resolved(function: Function) -> None:
    resource, dependency = Resource(), Resource()

    async def resolved() -> dict[str, Resolved]:
        resolvers = function(resource, {"urn": 1, "id": 2, "name": 3, "key": 4, "tags": 5}, True)
        assert set(resolvers) == set(vars(resource)) == {"name", "key", "tags"}
        resolvers["name"]("shop", True, False, None, None)
        resolvers["key"]("k", True, True, {dependency}, None)
        resolvers["tags"]({"a": [UNKNOWN]}, True, False, set(), None)
        return {name: await read(output) for name, output in vars(resource).items()}

    values = asyncio.run(resolved())
    assert values["name"] == ("shop", True, False, {resource})
    assert values["key"] == ("k", True, True, {resource, dependency})
    assert values["tags"][1:] == (False, False, {resource})
    # The SDK adds resources to the set of an output when it serializes the output.
    assert values["name"][3] is not values["tags"][3]


@both(sdk_functions.transfer_properties)
def test_properties_of_a_failed_registration_raise(function: Function) -> None:
    resource = Resource()

    async def failed() -> None:
        resolvers = function(resource, {"name": 1, "id": 2}, False)
        for resolve in resolvers.values():
            resolve(None, False, False, None, ValueError("no size"))
        for output in vars(resource).values():
            with pytest.raises(ValueError, match="no size"):
                await read(output)
        assert len(resolvers) == 2

    asyncio.run(failed())


@both(sdk_functions.resource_output)
def test_urn_is_resolved(function: Function) -> None:
    resource = Resource()

    async def resolved() -> tuple[Resolved, str]:
        resolve, output = function(resource)
        resolve("urn:1", True, False, None)
        return await read(output), str(await output.apply(lambda urn: f"{urn}!").future())

    assert asyncio.run(resolved()) == (("urn:1", True, False, {resource}), "urn:1!")


class OutputType(dict[str, Any]):
    """Values of output types are computed when they are read."""

    def __getitem__(self, key: str) -> Any:
        return UNKNOWN


CYCLE: list[Any] = [1]
CYCLE.append(CYCLE)


@both(sdk_functions.contains_unknowns)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (UNKNOWN, True),
        ({"a": [1, {"b": UNKNOWN}]}, True),
        ([[], [UNKNOWN]], True),
        (OutputType(a=1), True),
        (CYCLE, False),
        ({"a": [1, {"b": None}], "c": "x"}, False),
        ((UNKNOWN,), False),
        (None, False),
    ],
)
def test_unknown_values_are_found(function: Function, value: Any, expected: bool) -> None:
    assert function(value) is expected
