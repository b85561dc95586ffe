"""Emulated resource types agree with the pulumi-aws classes and the AWS API models."""

from importlib import import_module
from pkgutil import iter_modules

import pytest
from gatehouse_policies.program.schema import schema

from sandbox.emulator import resources
from sandbox.emulator.resources import RESOURCE_TYPES
from sandbox.emulator.sessions import session


def test_each_type_is_declared_in_one_module() -> None:
    declared = sum(
        len(import_module(f"{resources.__name__}.{row.name}").RESOURCE_TYPES)
        for row in iter_modules(resources.__path__)
    )
    assert declared == len(RESOURCE_TYPES) > 100


@pytest.mark.parametrize("token", sorted(RESOURCE_TYPES))
def test_outputs_exist_in_pulumi_aws(token: str) -> None:
    properties = schema(token)
    assert properties is not None
    assert set(RESOURCE_TYPES[token].outputs) <= set(properties.outputs)


@pytest.mark.parametrize("token", sorted(RESOURCE_TYPES))
def test_inputs_exist_in_pulumi_aws(token: str) -> None:
    properties, type_ = schema(token), RESOURCE_TYPES[token]
    assert properties is not None
    settings = {name for row in type_.settings for name in row.inputs or row.attributes}
    assert {*type_.defaults, *type_.names, *settings} <= properties.inputs


@pytest.mark.parametrize(
    "token", sorted(token for token, type_ in RESOURCE_TYPES.items() if type_.call)
)
def test_operation_and_parameters_exist_in_the_api_model(token: str) -> None:
    type_ = RESOURCE_TYPES[token]
    service, _, operation = type_.call.partition(".")
    client = session("x", "x").client(service, region_name="eu-west-1")
    shape = client.meta.service_model.operation_model(
        client.meta.method_to_api_mapping[operation]
    ).input_shape
    members = set(shape.members)
    for step in filter(None, type_.body.split(".")):
        shape = shape.members[step]
    assert set(type_.names.values()) <= members | set(shape.members)
