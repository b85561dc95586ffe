"""A template produces the same text as the code that wrote the example."""

from __future__ import annotations

import msgspec
import pytest
from gatehouse.templates import Template, placeholders
from hypothesis import given
from hypothesis import strategies as st


def example(name: str, count: int, seconds: float) -> str:
    return msgspec.json.encode({"count": count, "name": name, "seconds": seconds, "empty": None}).decode()


@given(name=st.text(max_size=50), count=st.integers(0, 2**53), milliseconds=st.integers(0, 31 * 86_400_000))
def test_filled_template_equals_the_ordinary_text(name: str, count: int, milliseconds: int) -> None:
    first, second = placeholders(2)
    template = Template(example(name, first, float(second)), [f"{second}.0", str(first)])
    seconds = round(milliseconds / 1000, 3)
    assert template.fill((seconds, count)) == example(name, count, seconds)


def test_value_whose_part_does_not_occur_is_ignored() -> None:
    assert Template("a=1 b=2 9%", ["2", "3", "1"]).fill(("x", "y", "z")) == "a=z b=x 9%"
    assert Template("a=1", ["3", "1"]).fill(("x", "y")) == "a=y"


@pytest.mark.parametrize("parts", [["1", "2"], ["3"], []])
def test_ambiguous_example_is_rejected(parts: list[str]) -> None:
    with pytest.raises(ValueError, match="variable part"):
        Template("a=1 b=1", parts)
