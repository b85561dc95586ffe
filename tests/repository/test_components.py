"""Docstrings of components: purpose, cost and control IDs."""

import ast
import re
from pathlib import Path

from gatehouse_policies.catalogue import RULES

ROOT = Path(__file__).resolve().parents[2]
CONTROLS = {rule.id for rule in RULES}
_RANGE = re.compile(r"\b(GH-[A-Z0-9]+-)(\d{3})(?:\s+to\s+GH-[A-Z0-9]+-(\d{3}))?")


def docstrings() -> dict[str, str]:
    """Docstring of each component for an AWS area, keyed by module and class. Composite components
    are excluded.
    """
    classes = {}
    for path in sorted((ROOT / "components").glob("*/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(base) == "Component" for base in node.bases
            ):
                classes[f"{path.stem}.{node.name}"] = ast.get_docstring(node) or ""
    assert len(classes) >= 25
    return classes


def controls(docstring: str) -> set[str]:
    """The control IDs of a docstring. "GH-IAM-001 to GH-IAM-004" names four controls."""
    return {
        f"{family}{number:03d}"
        for family, first, last in _RANGE.findall(docstring.partition("Controls:")[2])
        for number in range(int(first), int(last or first) + 1)
    }


def test_components_document_cost_and_controls() -> None:
    missing = {
        name: [label for label in ("Cost:", "Controls:") if label not in text]
        for name, text in docstrings().items()
    }
    assert {name: labels for name, labels in missing.items() if labels} == {}
    costs = {
        name: text.partition("Cost:")[2].partition("Controls:")[0]
        for name, text in docstrings().items()
    }
    assert [
        name
        for name, cost in costs.items()
        if not re.search(r"\d|none|free", cost, flags=re.IGNORECASE)
    ] == []


def test_components_name_existing_controls() -> None:
    unknown = {name: controls(text) - CONTROLS for name, text in docstrings().items()}
    assert {name: ids for name, ids in unknown.items() if ids} == {}
    assert [
        name
        for name, text in docstrings().items()
        if not controls(text) and "Controls: none" not in text
    ] == []
