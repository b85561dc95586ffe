"""The requirements of tests/requirements.toml and the tests that carry their markers."""

import ast
import tomllib
from collections import defaultdict
from pathlib import Path

from tools.docs import markdown
from tools.docs.markdown import table

ROOT = Path(__file__).resolve().parents[2]


def requirements() -> dict[str, str]:
    """Text of each requirement, keyed by ID, in the order of the file."""
    return tomllib.loads((ROOT / "tests" / "requirements.toml").read_text(encoding="utf-8"))


def covered() -> dict[str, list[str]]:
    """Tests of each requirement as `path::name`, keyed by ID. A marker on a module (`pytestmark`) adds the path of the file."""
    tests: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    for requirement in _ids(decorator):
                        tests[requirement].append(f"{name}::{node.name}")
            elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "pytestmark" for target in node.targets):
                for value in node.value.elts if isinstance(node.value, ast.List) else [node.value]:
                    for requirement in _ids(value):
                        tests[requirement].append(name)
    return tests


def _ids(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
        return [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    return []


def page() -> str:
    """The full page."""
    tests = covered()
    rows = (
        (requirement, text, "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests.get(requirement, [])) or "none")
        for requirement, text in requirements().items()
    )
    return markdown.page("requirements", table=table(("ID", "requirement", "tests"), rows))
