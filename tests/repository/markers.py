"""Tests with markers."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def marked_tests(marker: str) -> dict[str, list[str]]:
    """Tests with a marker, also that of their module, as `path::name`, keyed by each argument of
    the marker.
    """
    tests: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name, text = str(path.relative_to(ROOT)), path.read_text()
        body = ast.parse(text).body if f"mark.{marker}(" in text else []
        functions = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
        ]
        marks = [(mark, [test]) for test in functions for mark in test.decorator_list]
        for node in body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                values = node.value.elts if isinstance(node.value, ast.List) else [node.value]
                marks += [(value, functions) for value in values]
        for mark, marked in marks:
            for argument in _arguments(mark, marker):
                tests[argument] += [f"{name}::{test.name}" for test in marked]
    return dict(tests)


def _arguments(node: ast.expr, marker: str) -> list[str]:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == marker
    ):
        return [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    return []
