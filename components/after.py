"""Hands a value on only after other resources exist, so that joining by Outputs also orders creation."""

from typing import Any

import pulumi


def after(value: pulumi.Output[str], *others: pulumi.Output[Any]) -> pulumi.Output[str]:
    """`value`, which now depends on the resources behind `others` as well."""
    return pulumi.Output.all(value, *others).apply(_first)


def _first(values: list[Any]) -> str:
    return str(values[0])
