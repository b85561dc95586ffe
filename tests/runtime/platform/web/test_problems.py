"""Headers of errors, in particular when a request that is refused can succeed."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gatehouse
import pytest
import yaml
from gatehouse.core.errors import (
    GatehouseError,
    SettingsError,
    Unauthorized,
    UpgradeRequired,
    UsageExceeded,
)
from gatehouse.platform import settings
from gatehouse.platform.envoy.bootstrap import Service, document
from gatehouse.platform.web.problems import problem_headers

from tests.runtime.platform.test_settings import BASE

ROOT = Path(gatehouse.__file__).parent
#: Texts that ask a client to repeat its request.
REPEAT = re.compile(r"(?i)\b(wait|try again|temporarily)\b")
BODY = re.compile(r"^(?:problems\.problem|(?:problems\.)?(?:problem_members|openai_members))$")


def classes(error: type[GatehouseError] = GatehouseError) -> Iterator[type[GatehouseError]]:
    yield error
    for each in error.__subclasses__():
        yield from classes(each)


for path in ROOT.rglob("*.py"):
    if re.search(r"^class .*, temporary=", path.read_text("utf-8"), re.M):
        module = path.relative_to(ROOT.parent).with_suffix("").as_posix()
        importlib.import_module(module.replace("/", "."))
ERRORS = {each.__name__: each for each in classes()}


def headers_of(error: GatehouseError) -> dict[bytes, bytes]:
    return dict(problem_headers(error))


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS)
def test_error_has_the_headers_of_its_class(kind: type[GatehouseError]) -> None:
    error: Any = kind.__new__(kind)
    GatehouseError.__init__(error, "x")
    if isinstance(error, UsageExceeded):
        error.refills_at = ""
    headers = headers_of(error)
    assert (b"retry-after" in headers) is kind.temporary
    assert kind.temporary or kind.status not in (429, 503)
    assert (b"www-authenticate" in headers) is issubclass(kind, Unauthorized)
    assert (b"sec-websocket-version" in headers) is issubclass(kind, UpgradeRequired)


def test_class_must_declare_whether_time_helps() -> None:
    with pytest.raises(TypeError, match="temporary"):
        type("New", (GatehouseError,), {"title": "x"})


def test_time_of_an_error_is_sent() -> None:
    assert headers_of(ERRORS["Conflict"]("x", retry_after_s=7))[b"retry-after"] == b"7"
    refilled = UsageExceeded("x", refills_at="2030-01-01T00:00:00Z", retry_after_s=9)
    assert headers_of(refilled)[b"retry-after"] == b"9"
    assert b"retry-after" not in headers_of(UsageExceeded("x", retry_after_s=9))


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_who_asks_to_repeat_a_request_says_when() -> None:
    """Includes the errors of commands, in which nobody reads the time."""
    silent = []
    for file, tree in trees():
        for call in calls(tree):
            kind = ERRORS.get(name(call.func), SettingsError)
            texts = [each.value for each in ast.walk(call) if isinstance(each, ast.Constant)]
            asks = any(isinstance(text, str) and REPEAT.search(text) for text in texts)
            says = kind.temporary or any(each.arg == "retry_after_s" for each in call.keywords)
            if asks and not says and kind is not SettingsError:
                silent.append(f"{file}:{call.lineno}: {kind.__name__}")
    assert silent == []


def test_each_function_that_writes_an_error_adds_its_headers() -> None:
    producers, incomplete = 0, []
    for file, tree in trees():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            called = {ast.unparse(call.func) for call in calls(function)}
            if any(map(BODY.search, called)):
                producers += 1
                if not any(each.endswith(("problem_headers", "error_response")) for each in called):
                    incomplete.append(f"{file}:{function.name}")
    assert producers > 3
    assert incomplete == []


def test_the_proxy_says_when_for_each_of_its_errors(tmp_path: Path) -> None:
    services = [Service("gateway", 1, 1), Service("console", 2), Service("sharing", 3)]
    text = document(tmp_path, services, settings.load(BASE))
    replies = list(mappers(yaml.safe_load(text)))
    by_code = {each.code: each for each in ERRORS.values()}
    for reply in replies:
        members = reply["body_format_override"]["json_format"]
        kind = by_code[members.get("code") or members["error"]["code"]]
        added = {each["header"]["key"] for each in reply["headers_to_add"]}
        assert ("retry-after" in added) is kind.temporary
    assert len(replies) > 30


def mappers(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "mappers":
                yield from (each for each in value if "body_format_override" in each)
            else:
                yield from mappers(value)
    elif isinstance(node, list):
        for each in node:
            yield from mappers(each)
