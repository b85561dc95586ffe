"""Every operation of the console, and every field of its requests and responses, is available in
the command line and the web UI. parity.toml lists those that are not, with the reasons.
"""

import json
import re
import time
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import httpx
import pytest
from gatehouse.commands import cli
from gatehouse.commands.cli import COMMANDS, command_line
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.examples import example
from gatehouse.services.console.routes import ENDPOINTS, document

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command, bare, leaf_commands

__all__ = ["bare"]

SOURCES = Path(__file__).resolve().parents[4] / "runtime/web/src"
TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("parity.toml").read_text())
_NAMES = {endpoint.operation_id for endpoint in ENDPOINTS}
_CONNECTION = {"console", "token", "profile", "as_json", "output", "help"}


def _fields(schema: Any, root: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Paths of the properties of a schema, such as `limits.quota`."""
    if "$ref" in schema:
        schema = root["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for part in [*schema.get("anyOf", ()), *schema.get("allOf", ())]:
        yield from _fields(part, root, prefix)
    if "items" in schema:
        yield from _fields(schema["items"], root, prefix)
    for name, inner in schema.get("properties", {}).items():
        below = list(_fields(inner, root, f"{prefix}{name}."))
        yield from below or [f"{prefix}{name}"]


def _requests() -> dict[str, set[str]]:
    """The fields of the queries and bodies, by operation."""
    root = document()
    found = {}
    for operation in [each for path in root["paths"].values() for each in path.values()]:
        queries = [each for each in operation.get("parameters", ()) if each.get("in") == "query"]
        fields = {each["name"] for each in queries}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            fields |= set(_fields(content["schema"], root))
        found[operation["operationId"]] = fields
    return {name: found[name] for name in sorted(_NAMES)}


def _responses() -> dict[str, tuple[set[str], set[str]]]:
    """The operations that return each schema, and the names of the fields of the schema."""
    root = document()
    found: dict[str, tuple[set[str], set[str]]] = {}
    for operation in [each for path in root["paths"].values() for each in path.values()]:
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                for name in _schemas(content["schema"], root) if status.startswith("2") else ():
                    properties = root["components"]["schemas"][name].get("properties", {})
                    found.setdefault(name, (set(), {*properties}))[0].add(operation["operationId"])
    return {name: found[name] for name in found if found[name][0] & _NAMES}


def _schemas(schema: Any, root: dict[str, Any]) -> set[str]:
    """The names of a schema and of those that it contains."""
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema)))
    inner = [_schemas(root["components"]["schemas"][name], root) for name in names]
    return names.union(*inner)


def _missing(required: dict[str, set[str]], found: dict[str, set[str]]) -> set[str]:
    """Operations that are not called, and the fields that the calls of the others do not have."""
    return {name for name in required if name not in found} | {
        f"{name} {field}"
        for name, fields in required.items()
        if name in found
        for field in fields - found[name]
    }


_SOURCES = {"cli": "runtime/gatehouse/commands/cli/", "web": "runtime/web/src/"}


def _compare(missing: set[str], table: str) -> None:
    """table: of reasons by operation or schema, by operation or schema and field, or by field."""
    reasons, file = TABLE[table], f"[{table}] of tests/runtime/services/console/parity.toml"
    parts = {name: {name, name.partition(" ")[0], name.partition(" ")[2]} for name in missing}
    unexplained = {name for name in missing if not parts[name] & {*reasons}}
    assert not unexplained, (
        f"{', '.join(sorted(unexplained))}: missing in {_SOURCES[table]}; add what is missing, or "
        f"the reason to {file}"
    )
    unused = {*reasons}.difference(*parts.values())
    assert not unused, f"{', '.join(sorted(unused))}: not missing; remove it from {file}"


# The command line: each command with all of its options, against the examples of the endpoints.


def _sent(value: Any, prefix: str = "") -> set[str]:
    match value:
        case dict() if value:
            return {
                path for name, inner in value.items() for path in _sent(inner, f"{prefix}{name}.")
            } | ({prefix[:-1]} if prefix else set())
        case list() if value:
            return {path for inner in value for path in _sent(inner, prefix)}
    return {prefix[:-1]}


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return next(filter(None, map(_choices, get_args(kind))), ())


def _value(path: tuple[str, ...], parameter: Any) -> str:
    values = TABLE["values"]
    for name in (f"{' '.join(path)} {parameter.name}", f"{path[0]} {parameter.name}"):
        if name in values:
            return str(values[name])
    choices = _choices(parameter.type_descriptor.annotation)
    is_time = parameter.name.endswith("_s") or parameter.metavar == "DURATION"
    default = choices[0] if choices else "1h" if is_time else "1"
    return str(values.get(parameter.name, default))


def _arguments(path: tuple[str, ...], parameters: list[Any]) -> list[str]:
    """The command line with values for these options and for all arguments."""
    words = [*path]
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            words.append(_value(path, parameter))
        elif parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            words.append(f"{parameter.opts[0]}={_value(path, parameter)}")
    return words


@pytest.fixture(scope="module")
def endpoints() -> list[tuple[Endpoint, re.Pattern[str]]]:
    return [(each, re.compile(re.sub(r"{\w+}", "[^/]+", each.path))) for each in ENDPOINTS]


def test_command_line_reaches_every_operation_and_field(
    bare: Command,
    endpoints: list[tuple[Endpoint, re.Pattern[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[str, set[str]] = {}

    def send(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        matching = (
            each
            for each, pattern in endpoints
            if each.method == request.method and pattern.fullmatch(request.url.path)
        )
        endpoint = next(matching)
        fields = found.setdefault(endpoint.operation_id, set())
        fields |= set(request.url.params) | _sent(json.loads(request.content or b"{}"))
        if endpoint.response is None:
            return httpx.Response(204, request=request)
        return httpx.Response(200, json=example(endpoint.response), request=request)

    def interrupt(_: float) -> None:
        """A command that runs until it is interrupted."""
        raise KeyboardInterrupt

    monkeypatch.setattr(httpx.Client, "send", send)
    monkeypatch.setattr(time, "sleep", interrupt)
    monkeypatch.setattr(cli, "command_line", cache(command_line))  # saves most of the time
    (bare.folder / "file").write_text("content")
    command = Command(
        bare.folder,
        {"GATEHOUSE_CONSOLE_URL": "http://127.0.0.1:1", "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP},
    )
    local = ("serve", "migrate", "core", "import", "export", "scan", "version", "status")
    for name in sorted(COMMANDS.keys() - set(local)):
        for path, leaf in leaf_commands(command_line(name).commands[name], (name,)):
            parameters = [each for each in leaf.params if each.name not in _CONNECTION]
            arguments = [each for each in parameters if each.param_type_name == "argument"]
            needed = [each for each in parameters if each.required or each in arguments]
            optional = [each for each in parameters if each not in needed]
            required = [each for each in parameters if each.required]
            ranges = [each for each in parameters if each.name != "last"]  # or `since`
            attempts = [ranges, needed, required, *([*needed, each] for each in optional)]
            for number, attempt in enumerate(attempts):
                done = command.run(*_arguments(path, attempt), stdin="text\ntext\n")
                assert "internal error" not in done.err, (path, attempt, done.err)
                if number == 0 and done.code == 0:
                    attempts[3:] = []
    _compare(_missing(_requests(), found), "cli")


# The web UI: the names in the sources of the screens and components that call an operation.


def _closure(path: Path, known: set[Path]) -> set[Path]:
    """A source file and the files that it imports, except for texts and types."""
    if path in known or path.parent.name == "locales" or not path.is_file():
        return known
    known.add(path)
    for name in re.findall(r"from '(\.[^']*)'", path.read_text()):
        target = path.parent / name
        _closure((target if target.suffix else target.with_suffix(".ts")).resolve(), known)
    return known


def test_web_ui_reaches_every_operation_and_field() -> None:
    calls: dict[str, set[str]] = {}
    for path in [*SOURCES.rglob("*.vue"), *SOURCES.rglob("*.ts")]:
        if path.name == "schema.d.ts":
            continue
        called = set(re.findall(r"'(\w+)'", re.sub(r"may\('\w+'\)", "", path.read_text())))
        if operations := called & _NAMES:
            sources = "".join(each.read_text() for each in _closure(path, set()))
            words = set(re.findall(r"\w+", sources))
            for name in operations:
                calls.setdefault(name, set()).update(words)
    fields = {
        name: {each.rpartition(".")[2] for each in paths} for name, paths in _requests().items()
    }
    missing = _missing(fields, calls)
    for name, (operations, names) in _responses().items():
        words = set[str]().union(*(calls.get(operation, set()) for operation in operations))
        missing |= {f"{name} {field}" for field in names - words}
    _compare(missing, "web")
