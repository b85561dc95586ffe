"""Tests wait for states, and no wait ends before a busy machine has reached the state."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The least bound of a wait in seconds. A wait ends at the state, so a long bound takes no time.
PATIENCE_S = 60
_WAITS = {"timeout", "wait_for", "wait", "wait_until", "join", "result"}
#: Requests of httpx end after 5 seconds without a timeout.
_REQUESTS = {f"httpx.{name}" for name in ("get", "post", "put", "delete", "request", "stream")}
_CLIENTS = {"httpx.Client", "httpx.AsyncClient"}


def impatient(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each call that waits for a time, or not long enough for a state."""
    tree = ast.parse(source)
    constants = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }

    def number(value: ast.expr | None) -> float | None:
        if isinstance(value, ast.Name):
            value = constants.get(value.id)
        known = value.value if isinstance(value, ast.Constant) else None
        return known if isinstance(known, int | float) else None

    polls = {
        call for loop in ast.walk(tree) if isinstance(loop, ast.While) for call in ast.walk(loop)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        name, options = call.func.attr, {each.arg: each.value for each in call.keywords}
        if name == "to_thread" and isinstance(call.args[0], ast.Attribute):
            name = call.args[0].attr
        if name == "sleep":
            is_wait = call not in polls and number(call.args[0]) not in (None, 0)
        elif ast.unparse(call.func) in _REQUESTS | _CLIENTS and "timeout" not in options:
            is_wait = not {"transport", None} & options.keys()
        else:
            last = call.args[-1] if call.args and name in _WAITS else None
            bound = number(options.get("timeout", last))
            is_wait = bound is not None and bound < PATIENCE_S
        if is_wait:
            yield call.lineno, ast.unparse(call)


@pytest.mark.parametrize(
    ("source", "is_impatient"),
    [
        ("time.sleep(0.1)", True),
        ("PAUSE_S = 1\nasync def f(): await asyncio.sleep(PAUSE_S)", True),
        ("async def f(): await asyncio.sleep(0)", False),
        ("while not ready(): time.sleep(0.1)", False),
        ("asyncio.timeout(30)", True),
        ("PATIENCE_S = 60\nasyncio.timeout(PATIENCE_S)", False),
        ("process.wait(5)", True),
        ("asyncio.to_thread(child.process.wait, 30)", True),
        ("asyncio.to_thread(child_processes.wait_until, child, is_ready, 'ready', 60)", False),
        ("thread.join()", False),
        ("', '.join(names)", False),
        ("httpx.get(url)", True),
        ("httpx.get(url, timeout=60)", False),
        ("httpx.AsyncClient(transport=transport)", False),
        ("Redis(url, timeout_s=0.1)", False),  # a bound of the product
    ],
)
def test_impatient_calls_are_found(source: str, *, is_impatient: bool) -> None:
    assert bool(list(impatient(source))) is is_impatient


def test_tests_wait_for_states() -> None:
    """Wait in a `while` loop until a state, with a bound of at least PATIENCE_S."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 300
    assert [
        f"{file.relative_to(ROOT)}:{line}: {call}"
        for file in files
        for line, call in impatient(file.read_text())
    ] == []
