"""Functions that components share: component inputs, dependent outputs, and encrypted log groups."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
from pydantic import BaseModel

from components.tags import tags


def component_inputs(args: Any) -> dict[str, Any]:
    """Return the fields of an Args dataclass as Pulumi properties in camelCase, so that policies can read them.

    Omits fields that are None. Outputs are passed through.
    """
    return {
        _camel_case(field.name): _property(getattr(args, field.name))
        for field in dataclasses.fields(args)
        if getattr(args, field.name) is not None
    }


def with_dependencies(value: pulumi.Output[str], *dependencies: pulumi.Output[Any]) -> pulumi.Output[str]:
    """Return `value` as an output that also depends on the resources of `dependencies`."""
    return pulumi.Output.all(value, *dependencies).apply(lambda values: str(values[0]))


def log_group(
    name: str, log_group_name: str, *, key_arn: pulumi.Input[str], retention_days: int, parent: pulumi.Resource
) -> aws.cloudwatch.LogGroup:
    """Create a log group that is encrypted with a KMS key and expires its events."""
    return aws.cloudwatch.LogGroup(
        name,
        name=log_group_name,
        retention_in_days=retention_days,
        kms_key_id=key_arn,
        tags=tags("log"),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _property(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {_camel_case(key): _property(inner) for key, inner in value if inner is not None}
    if dataclasses.is_dataclass(value):
        return component_inputs(value)
    if isinstance(value, Mapping):
        return {str(key): _property(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_property(item) for item in value]
    return value


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
