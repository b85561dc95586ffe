"""Rows say what is true of the installed pulumi-aws classes and of AWS's own model."""

import functools
from typing import Any

import boto3
import pytest

from sandbox.emulator.resources import ROWS
from sandbox.engine.schema import schema


@pytest.mark.parametrize("token", sorted(ROWS))
def test_a_row_is_for_a_class_of_pulumi_aws(token: str) -> None:
    assert schema(token) is not None


@pytest.mark.parametrize("token", sorted(ROWS))
def test_outputs_of_a_row_exist_on_the_class(token: str) -> None:
    known = schema(token)
    assert known is not None
    assert set(ROWS[token].outputs) <= set(known.outputs)


@pytest.mark.parametrize("token", sorted(ROWS))
def test_inputs_named_by_a_row_exist_on_the_class(token: str) -> None:
    known, row = schema(token), ROWS[token]
    assert known is not None
    assert {*row.ignored, *row.dropped, *row.by_hand, *row.names} <= known.inputs


@pytest.mark.parametrize("token", sorted(ROWS))
def test_an_input_that_is_not_held_has_a_reason(token: str) -> None:
    assert all(len(reason) >= 20 for reason in [*ROWS[token].ignored.values(), *ROWS[token].dropped.values()])


@pytest.mark.parametrize("token", sorted(token for token, row in ROWS.items() if row.call))
def test_the_call_and_the_names_of_a_row_exist_in_the_model_of_aws(token: str) -> None:
    row = ROWS[token]
    service, _, operation = row.call.partition(".")
    client = _session().client(service, region_name="eu-west-1")
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape
    assert {*row.names.values(), *row.constant} <= set(shape.members)


@functools.cache
def _session() -> Any:
    return boto3.session.Session("x", "x")
