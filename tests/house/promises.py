"""Makes docs/promises.md from tests/promises.toml and the `promise` markers of the tests: `python tests/house/promises.py`."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "promises.md"
HEAD = """# Promises and where they are shown

One row a promise. The right column is made from the tests' own markers (`@pytest.mark.promise`); a row without a test is not
kept yet, or not shown. Made by `python tests/house/promises.py`; a test fails when this page is not current.

| id | promise | shown by |
|---|---|---|
"""


def promises() -> dict[str, str]:
    """Id to text, in the order of the file."""
    return tomllib.loads((ROOT / "tests" / "promises.toml").read_text())


def shown() -> dict[str, list[str]]:
    """Id to the tests that carry it, as `path::name`. A marker on a module (`pytestmark`) counts for the file."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    for promise in _ids(decorator):
                        found[promise].append(f"{name}::{node.name}")
            elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytestmark" for t in node.targets):
                for value in node.value.elts if isinstance(node.value, ast.List) else [node.value]:
                    for promise in _ids(value):
                        found[promise].append(name)
    return found


def _ids(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "promise":
        return [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    return []


def page() -> str:
    """The whole text of docs/promises.md."""
    by_promise = shown()
    rows = []
    for promise, text in promises().items():
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in by_promise.get(promise, []))
        rows.append(f"| {promise} | {text} | {tests or 'not yet'} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
