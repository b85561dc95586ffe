"""The functions that replace functions of the SDK have the results of the SDK."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_policies.program.types import UNKNOWN as UNKNOWN_TEXT
from gatehouse_policies.program.values import ASSET, SIGNATURE
from pulumi import StringAsset
from pulumi.output import UNKNOWN, Output
from pulumi.runtime.settings import SETTINGS
from pulumi_aws.s3 import BucketVersioningVersioningConfigurationArgs

sdk_functions = pytest.importorskip(
    "gatehouse_policies.program.sdk_functions", exc_type=ImportError
)
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


async def later(value: Any) -> Any:
    return value


INPUTS: dict[str, Callable[[], Any]] = {
    "text": lambda: "x",
    "nothing": lambda: None,
    "empty": lambda: {},
    "values": lambda: {"a": [1, 2.5, True, None, {"b": ("c", [])}], "d": ()},
    "output": lambda: Output.secret("x"),
    "output in a list": lambda: {"a": ["b", Output.secret("x")]},
    "output as a key": lambda: {Output.from_input("a"): 1},
    "future": lambda: [later("x")],
    "input type": lambda: [BucketVersioningVersioningConfigurationArgs(status="Enabled")],
    "unknown": lambda: {"a": [UNKNOWN]},
}


@both(sdk_functions.from_input)
@pytest.mark.parametrize("value", INPUTS)
def test_outputs_of_inputs(function: Function, value: str) -> None:
    async def resolved() -> Resolved:
        SETTINGS.outputs = set()
        return await read(function(INPUTS[value]()))

    result, known, secret, resources = asyncio.run(resolved())
    expected = {
        "output": "x",
        "output in a list": {"a": ["b", "x"]},
        "output as a key": {"a": 1},
        "future": ["x"],
        "unknown": {"a": [UNKNOWN]},
    }
    if value == "input type":
        assert [(type(item), item.status) for item in result] == [
            (BucketVersioningVersioningConfigurationArgs, "Enabled")
        ]
    else:
        assert result == (expected[value] if value in expected else INPUTS[value]())
    assert (known, secret, resources) == (
        value != "unknown",
        value in ("output", "output in a list"),
        set(),
    )


@both(sdk_functions.from_input)
def test_values_of_dictionaries_are_read_when_the_event_loop_runs(function: Function) -> None:
    inner = ["b"]
    mapping: dict[str, Any] = {"a": ["b"]}
    sequence = [inner, mapping]

    async def resolved() -> Any:
        output = function(sequence)
        mapping["a"].append("c")
        mapping["d"] = 1
        inner.append("c")
        return (await read(output))[0]

    assert asyncio.run(resolved()) == [["b"], {"a": ["b", "c"]}]


@both(sdk_functions.create_urn)
@pytest.mark.parametrize(
    ("name", "parent"),
    [
        (lambda: "files", "urn:pulumi:dev::shop::gatehouse:storage:Bucket::data"),
        (lambda: "files", ""),
        (
            lambda: Output.from_input("files"),
            "urn:pulumi:dev::shop::gatehouse:storage:Bucket::data",
        ),
    ],
    ids=["below a component", "no parent", "output"],
)
def test_urn(function: Function, name: Callable[[], Any], parent: str) -> None:
    async def resolved() -> tuple[Any, ...]:
        return await read(function(name(), "aws:s3/bucket:Bucket", parent))

    prefix = "urn:pulumi:dev::shop::gatehouse:storage:Bucket" if parent else ""
    assert asyncio.run(resolved()) == (f"{prefix}$aws:s3/bucket:Bucket::files", True, False, set())


@both(sdk_functions.serialize_property)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (True, True),
        (None, None),
        (
            {"a": [1, 2.5, {"b": StringAsset("text")}]},
            {"a": [1, 2.5, {"b": {SIGNATURE: ASSET, "text": "text"}}]},
        ),
        (UNKNOWN, UNKNOWN_TEXT),
    ],
)
def test_values_of_requests(function: Function, value: Any, expected: Any) -> None:
    assert asyncio.run(function(value, [], "key")) == expected


def test_text_of_a_request_as_protobuf_value() -> None:
    value = asyncio.run(
        sdk_functions.serialize_property("x", [], "key", return_protobuf_value=True)
    )

    assert value.string_value == "x"


@both(sdk_functions.track)
def test_failed_outputs_remain_tracked(function: Function) -> None:
    async def tracked() -> tuple[int, int]:
        SETTINGS.outputs = set()
        outputs = []
        for _ in range(3):
            output: Any = object.__new__(Output)
            output._data = asyncio.Future()
            function(output)
            outputs.append(output)
        before = len(SETTINGS.outputs)
        outputs[0]._data.set_result(None)
        outputs[1]._data.set_exception(ValueError("no size"))
        outputs[2]._data.cancel()
        await asyncio.sleep(0)
        assert SETTINGS.outputs == {outputs[1]._data, outputs[2]._data}
        assert isinstance(outputs[1]._data.exception(), ValueError)
        return before, len(SETTINGS.outputs)

    assert asyncio.run(tracked()) == (3, 2)
