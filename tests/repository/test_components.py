"""Every component says in its docstring what a reader of a bill and of an audit asks: why it is there, its cost, its controls."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KNOWN = set(re.findall(r"\bGH-[A-Z0-9]+-\d{3}\b", (ROOT / "docs" / "policies.md").read_text()))
_RANGE = re.compile(r"\b(GH-[A-Z0-9]+-)(\d{3})(?:\s+to\s+GH-[A-Z0-9]+-(\d{3}))?")


def components() -> dict[str, str]:
    """Docstring of each ComponentResource, by module and class."""
    found = {}
    for path in sorted((ROOT / "components").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any("ComponentResource" in ast.unparse(base) for base in node.bases):
                found[f"{path.stem}.{node.name}"] = ast.get_docstring(node) or ""
    return found


COMPONENTS = components()


def controls(text: str) -> set[str]:
    """The control ids of a docstring; "GH-IAM-001 to GH-IAM-004" is four of them."""
    return {
        f"{family}{number:03d}"
        for family, first, last in _RANGE.findall(text.partition("Controls:")[2])
        for number in range(int(first), int(last or first) + 1)
    }


def test_there_are_components() -> None:
    assert len(COMPONENTS) >= 25


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_says_why_it_is_there_what_it_costs_and_which_controls_it_answers(name: str) -> None:
    text = COMPONENTS[name]
    assert [word for word in ("Why:", "Cost:", "Controls:") if word not in text] == []
    cost = text.partition("Cost:")[2].partition("Controls:")[0]
    assert re.search(r"\d|none|free", cost, flags=re.IGNORECASE), f"say a price: {cost}"


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_controls_of_a_component_are_rules_that_exist(name: str) -> None:
    said = controls(COMPONENTS[name])
    assert said - KNOWN == set()
    assert said or "Controls: none" in COMPONENTS[name]
