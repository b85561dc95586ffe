"""Requirements on properties."""

from collections.abc import Callable
from typing import Any

import pytest
from gatehouse_policies.engine.requirements import contains, is_exactly, is_not


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
