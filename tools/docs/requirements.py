"""The requirements of tests/requirements.toml and the tests that carry their markers."""

import ast
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

from tools.docs import markdown
from tools.docs.markdown import table

ROOT = Path(__file__).resolve().parents[2]


def requirements() -> dict[str, str]:
    """Text of each requirement, keyed by ID, in the order of the file."""
    return tomllib.loads((ROOT / "tests" / "requirements.toml").read_text())


def covered() -> dict[str, list[str]]:
    """Tests of each requirement as `path::name`, keyed by ID. A marker on a module (`pytestmark`)
    adds the path of the file.
    """
    return marked_tests("requirement")


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


def page() -> str:
    tests = covered()
    rows = (
        (
            requirement,
            text,
            "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests.get(requirement, []))
            or "none",
        )
        for requirement, text in requirements().items()
    )
    return markdown.page("requirements", table=table(("ID", "requirement", "tests"), rows))
