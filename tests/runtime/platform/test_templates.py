"""A template produces the same text as the code that wrote the example."""

from __future__ import annotations

import msgspec
import pytest
from gatehouse.platform.templates import Template, placeholders
from hypothesis import given
from hypothesis import strategies as st


def example(name: str, label: str, count: int, seconds: float) -> bytes:
    return msgspec.json.encode(
        {"count": count, "name": name, "seconds": seconds, "label": label, "empty": None}
    )


@given(
    name=st.text(max_size=50),
    count=st.integers(0, 2**53),
    milliseconds=st.integers(0, 31 * 86_400_000),
)
def test_filled_template_equals_the_ordinary_text(name: str, count: int, milliseconds: int) -> None:
    first, second, third = placeholders(3)
    template = Template(
        example(name, str(third), first, float(second)), [str(third), float(second), first]
    )
    seconds = round(milliseconds / 1000, 3)
    assert template.fill(("label", str(seconds), str(count))) == example(
        name, "label", count, seconds
    )


def test_value_whose_part_does_not_occur_is_ignored() -> None:
    assert Template(b"a=1 b=2 9%", ["2", "3", 1]).fill(("x", "y", "4")) == b"a=4 b=x 9%"
    assert Template(b"a=1", [3, 1]).fill(("5", "6")) == b"a=6"


@pytest.mark.parametrize("parts", [["1", "2"], ["3"], []])
def test_ambiguous_example_is_rejected(parts: list[str]) -> None:
    with pytest.raises(ValueError, match="variable part"):
        Template(b"a=1 b=1", parts)
