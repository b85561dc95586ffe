"""The CPU time of every regular expression grows in proportion to its input. The test repeats a
text that matches a part of it, so that an expression that starts again, or backtracks, at each
repetition takes quadratic or exponential time.
"""

import ast
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import gatehouse
import pytest

ROOT = Path(gatehouse.__file__).parent
METHODS = ("match", "fullmatch", "search", "sub", "split", "findall", "finditer")
SHORT, LONG = 500, 4_000
#: Time below which the ratio of two times is not meaningful.
SHORT_S = 0.002
ALPHABET = "a0A-_.:/ ~\x01"
CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}
#: An expression that is an argument of a function, and the modules with one: the patterns of
#: fields, settings and links are also found where they are declared, and those of names of headers
#: are plain text.
LOCAL = "<local>"
LOCAL_MODULES = {
    "gatehouse.core.http.header_names",
    "gatehouse.core.texts",
    "gatehouse.platform.web.validation",
    "gatehouse.platform.settings",
    "gatehouse.features.secrets.link_token",
}
#: Functions whose first argument is an expression, and the method with which it is compared.
FUNCTIONS = {
    **{f"re.{method}": method for method in METHODS},
    **dict.fromkeys(("matching", "_matching"), "fullmatch"),
}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def found() -> list[tuple[str, re.Pattern[Any], str]]:
    return [*_found()]


def _found() -> Iterator[tuple[str, re.Pattern[Any], str]]:
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text()
        if not re.search(r"\bre\b|\bmatching\(|\bpattern=", text):
            continue
        name = ".".join(("gatehouse", *path.relative_to(ROOT).with_suffix("").parts))
        variables = vars(import_module(name.removesuffix(".__init__")))
        for variable, value in variables.items():
            values = value.values() if isinstance(value, dict) else (value,)
            uses = re.findall(rf"\b{variable}\.({'|'.join(METHODS)})\(", text) or ["finditer"]
            for pattern in values:
                if isinstance(pattern, re.Pattern):
                    yield from ((f"{name}.{variable}", pattern, use) for use in set(uses))
        for argument, method in _arguments(ast.parse(text)):
            place = f"{name}:{argument.lineno}"
            yield place, re.compile(_evaluate(argument, variables, place)), method


def _arguments(module: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """The expressions that are not values of variables of the module, and their methods."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "re", "import the module"
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function in FUNCTIONS:
                yield node.args[0], FUNCTIONS[function]
            if function in ("Meta", "msgspec.Meta"):
                yield from (
                    (each.value, "search") for each in node.keywords if each.arg == "pattern"
                )
        if isinstance(node, DEFINITIONS):
            for part in ast.walk(node):
                if isinstance(part, ast.Call) and ast.unparse(part.func) == "re.compile":
                    yield part.args[0], "finditer"


def _evaluate(node: ast.expr, variables: dict[str, Any], place: str) -> Any:
    if isinstance(node, ast.Starred):  # an expression and its form for people
        return _evaluate(node.value, variables, place)[0]
    try:
        return eval(compile(ast.Expression(node), place, "eval"), variables)  # noqa: S307
    except NameError:
        return LOCAL


def sample(nodes: Iterable[Any]) -> str:
    return "".join(_sample(operation, argument) for operation, argument in nodes)


def _sample(operation: Any, argument: Any) -> str:
    match str(operation):
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "a" if argument != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return _member(argument)
        case "BRANCH":
            return sample(argument[1][0])
        case "SUBPATTERN":
            return sample(argument[3])
        case "ATOMIC_GROUP":
            return sample(argument)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return sample(argument[2]) * max(int(argument[0]), 1)
    return ""


def _member(items: list[tuple[Any, Any]]) -> str:
    if items[0][0] is _constants.NEGATE:
        return next(each for each in ALPHABET if not any(_has(item, each) for item in items[1:]))
    operation, argument = items[0]
    if operation is _constants.CATEGORY:
        return CATEGORIES.get(str(argument), "~")
    return chr(argument[0] if operation is _constants.RANGE else argument)


def _has(item: tuple[Any, Any], character: str) -> bool:
    operation, argument = item
    if operation is _constants.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    if operation is _constants.CATEGORY:
        return CATEGORIES.get(str(argument), "~") == character
    return bool(ord(character) == argument)


def parts(nodes: Iterable[Any], before: str = "") -> Iterator[tuple[str, str]]:
    for operation, argument in nodes:
        yield before, _sample(operation, argument)
        children = {"SUBPATTERN": 3, "MAX_REPEAT": 2, "MIN_REPEAT": 2, "POSSESSIVE_REPEAT": 2}
        if str(operation) in children:
            yield from parts(argument[children[str(operation)]], before)
        elif str(operation) == "BRANCH":
            for branch in argument[1]:
                yield from parts(branch, before)
        before += _sample(operation, argument)


def _tree(pattern: re.Pattern[Any]) -> Any:
    return _parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)


def cpu_s(run: Callable[[], object], repeat: int = 3) -> float:
    times = []
    for _ in range(repeat):
        started = time.thread_time()
        run()
        times.append(time.thread_time() - started)
    return min(times)


def is_linear(pattern: re.Pattern[Any], method: str) -> bool:
    tree = _tree(pattern)
    units = {(before, unit) for before, unit in parts(tree) if unit}
    units |= {("", before + unit) for before, unit in units} | {("", sample(tree) or "a")}

    def run(before: str, unit: str, size: int) -> Callable[[], object]:
        text: Any = before + unit * (size // len(unit)) + "\x00"
        if isinstance(pattern.pattern, bytes):
            text = text.encode("latin-1")
        if method == "sub":
            return lambda: pattern.sub(text[:0], text)
        if method == "finditer":
            return lambda: list(pattern.finditer(text))
        return lambda: getattr(pattern, method)(text)

    for before, unit in units:
        measured = run(before, unit, LONG)
        short_s = cpu_s(run(before, unit, SHORT), 1)
        limit_s = max(SHORT_S, 3 * LONG / SHORT * short_s)
        if cpu_s(measured, 1) > limit_s and cpu_s(measured) > limit_s:
            return False
    return True


def test_every_expression_takes_linear_time() -> None:
    expressions = found()
    assert len(expressions) > 60
    local = {place.partition(":")[0] for place, each, _ in expressions if each.pattern == LOCAL}
    assert local == LOCAL_MODULES
    assert [place for place, each, method in expressions if not is_linear(each, method)] == []


def test_no_field_accepts_a_final_line_feed() -> None:
    """`$` also matches before one, and msgspec searches for the pattern of a field."""
    fields = [(place, each) for place, each, method in found() if method == "search"]
    assert "gatehouse.features.cores.credentials" in {
        place.partition(":")[0] for place, _ in fields
    }
    assert [
        place
        for place, each in fields
        if str(each.pattern).startswith("^") and each.search(sample(_tree(each)) + "\n")
    ] == []


@pytest.mark.parametrize(
    ("pattern", "method", "linear"),
    [
        (r"eyJ[A-Za-z0-9]+\.x", "search", False),
        (r"[a-z]+[a-z0-9]+:", "fullmatch", False),
        (r"[a-z]+:", "search", False),
        (r"[a-z]+:", "fullmatch", True),
        (r"eyJ[A-Za-z0-9]{1,50}\.x", "search", True),
    ],
)
def test_slow_expressions_are_recognized(pattern: str, method: str, *, linear: bool) -> None:
    assert is_linear(re.compile(pattern), method) is linear
