"""Requirements on properties."""

from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    contains,
    is_at_least,
    is_at_most,
    is_exactly,
    is_not,
)
from gatehouse_policies.engine.rule import Requirement


@pytest.mark.parametrize("value", [7, True, None, ["a"]])
@pytest.mark.parametrize("requirement", [is_exactly, is_not, contains])
def test_value_that_is_not_a_string_is_an_error_at_declaration(
    requirement: Callable[..., Any], value: object
) -> None:
    name = requirement.__name__
    with pytest.raises(TypeError) as raised:
        requirement("idle.timeout", "a", value)
    message = str(raised.value)
    assert message.startswith(f'{name}("idle.timeout", ...): {value!r} is not a string. Write')


@pytest.mark.parametrize(
    ("requirement", "days", "is_met"),
    [
        (is_at_least("days", 7), 7, True),
        (is_at_least("days", 7), 6, False),
        (is_at_least("days", 7), None, False),
        (is_at_least("days", 7, default=7), None, True),
        (is_at_most("days", 7), 7, True),
        (is_at_most("days", 7), 8, False),
        (is_at_most("days", 7), None, True),
    ],
)
def test_bounds_are_inclusive(requirement: Requirement, days: int | None, *, is_met: bool) -> None:
    props = Properties({} if days is None else {"days": days})
    resource = Resource("urn", "aws:x/y:Z", "z", props)
    assert bool(list(requirement.check(resource, Stack([resource])))) is not is_met
