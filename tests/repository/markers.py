"""Tests with markers."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def marked_tests(marker: str) -> dict[str, list[str]]:
    """Tests with a marker as `path::name`, keyed by each argument of the marker."""
    tests: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name, text = str(path.relative_to(ROOT)), path.read_text()
        for node in ast.walk(ast.parse(text)) if f"mark.{marker}(" in text else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    for argument in _arguments(decorator, marker):
                        tests[argument].append(f"{name}::{node.name}")
            elif isinstance(node, ast.Assign) and any(
                getattr(target, "id", "") == "pytestmark" for target in node.targets
            ):
                for value in node.value.elts if isinstance(node.value, ast.List) else [node.value]:
                    for argument in _arguments(value, marker):
                        tests[argument].append(name)
    return dict(tests)


def _arguments(node: ast.expr, marker: str) -> list[str]:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == marker
    ):
        return [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    return []
