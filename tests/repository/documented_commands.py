"""The commands of a page that no test runs: in `console` blocks and in the prose. The guide reader
runs the blocks `console run`.

A command with an argument, or with a value of an option, is complete: it can be typed as it stands.
Otherwise, the page names a command and perhaps some of its options, as in "`keys create --link`
returns a link". `...` stands for what the page omits, and `<...>` for one value.
"""

import argparse
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import botocore.session
import typer
from botocore import xform_name
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from gatehouse.commands import cli
from gatehouse_policies.__main__ import parser as policies_parser
from pip._internal.commands import create_command

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
_BLOCK = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROMPT = re.compile(r"^ *\$ ((?:.*\\\n)*.*)", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<[^<>\n|]*>")
_VALUE, _REST = "VALUE", "..."
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
#: Options of every command of the AWS CLI that are used on the pages.
_AWS_OPTIONS = {"cli-input-json", "region", "profile", "query", "output"}


_command_line = cache(cli.command_line)


class NotValid(Exception):
    """A command that cannot be typed."""


#: The name of the program and its arguments.
Command: TypeAlias = tuple[str, ...]


def commands(text: str) -> Iterator[Command]:
    """The commands of a page. Text that the shell cannot read contains none."""
    prose = _BLOCK.sub("", text)
    lines = [
        line
        for kind, block in _BLOCK.findall(text)
        if kind == "console"
        for line in _PROMPT.findall(block)
    ]
    for line in (*lines, *_SPAN.findall(prose)):
        yield from _split(line)


def _split(line: str) -> Iterator[Command]:
    lexer = shlex.shlex(
        _PLACEHOLDER.sub(_VALUE, line.replace("\\\n", " ")), posix=True, punctuation_chars=True
    )
    lexer.whitespace_split = True
    words: list[str] = []
    with suppress(ValueError):  # a quotation that does not end
        for word in (*lexer, ";"):
            if word.strip("();<>|&"):
                words.append(word)
            elif command := _program(words):
                yield command
                words = []
            else:
                words = []


def _program(words: list[str]) -> Command | None:
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words:
        return None
    name = Path(words[0]).name
    if name.startswith("python") and words[1:2] == ["-m"]:
        words = words[2:]
        name = words[0] if words[:1] == ["pip"] else f"python -m {words[0]}"
    return (name, *words[1:])


def check(command: Command) -> None:
    """Raises NotValid if the command is wrong, as far as there are rules for the program."""
    name, *words = command
    if name.startswith("python -m ") and importlib.util.find_spec(name.split()[-1]) is None:
        raise NotValid("no such module")
    if words and name in _RULES:
        _RULES[name]([word for word in words if word != _REST], _REST not in words)


def help_texts() -> str:
    """The texts of `gatehouse --help` of all commands."""

    def texts(command: Any) -> Iterator[str]:
        yield from filter(None, (getattr(item, "help", "") for item in (command, *command.params)))
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    return "\n\n".join(texts(_command_line()))


def _gatehouse(words: list[str], complete: bool) -> None:
    current: Any = _command_line()
    context = current.make_context("gatehouse", [], resilient_parsing=True)
    while words and words[0] in getattr(current, "commands", {}):
        current = current.commands[words[0]]
        context = current.make_context(words[0], [], parent=context, resilient_parsing=True)
        words = words[1:]
    options = {
        name: param for param in current.params for name in (*param.opts, *param.secondary_opts)
    } | {"--help": None, "--install-completion": None}
    if unknown := {word.partition("=")[0] for word in words if word[:2] == "--"} - {*options, "--"}:
        raise NotValid(f"no such option: {unknown}")
    if all(word.startswith("--") and word != "--" for word in words):
        return  # names the command and options
    if hasattr(current, "commands"):
        raise NotValid(f"no such command: {words[0]}")
    try:
        if complete and not any(_VALUE in word for word in words):
            current.make_context("gatehouse", list(words), parent=context.parent)
        values, rest, _ = current.make_parser(context).parse_args(words)
    except typer.TyperException as exc:
        raise NotValid(str(exc)) from exc
    missing = [
        param.opts[0] for param in current.params if param.required and param.name not in values
    ]
    if rest or (complete and missing):
        raise NotValid(f"missing: {missing}, too many: {rest}")


def _policies(words: list[str], complete: bool) -> None:
    def error(message: str) -> Any:
        raise NotValid(message)

    def without_exit(parser: argparse.ArgumentParser) -> None:
        parser.error = error  # type: ignore[method-assign]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    without_exit(inner)

    parser = policies_parser()
    without_exit(parser)
    names = all(word.startswith("--") for word in words[1:])
    parser.parse_args([word for word in words if not (names and word.startswith("--"))])


def _make(words: list[str], complete: bool) -> None:
    helps = dict(re.findall(r"^([a-z-]+):.*## (.*)", MAKEFILE, re.MULTILINE))
    words = words[2:] if words[:1] == ["-C"] else words
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    targets = [word for word in words if "=" not in word]
    if unknown := set(targets) - set(helps):
        raise NotValid(f"no such target: {unknown}")
    used = set(re.findall(r"\$[({](?:or \$\()?([A-Z_]+)\b", MAKEFILE)) | {"PYTHON"}
    if unknown := set(variables) - used:
        raise NotValid(f"no such variable: {unknown}")
    for target in targets:
        if (
            complete
            and variables
            and "ENV= is required" in helps[target]
            and "ENV" not in variables
        ):
            raise NotValid("ENV= is required")
    for path in variables.get("TESTS", "").split():
        if not (ROOT / path).exists():
            raise NotValid(f"{path} does not exist")


@cache
def _locked_packages() -> frozenset[str]:
    """The packages of other projects in uv.lock."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return frozenset(row["name"] for row in packages if "registry" in row["source"])


def _pip(words: list[str], complete: bool) -> None:
    if not words or words[0].startswith("-"):
        return
    try:
        _, requirements = create_command(words[0]).parser.parse_args(words[1:])
    except SystemExit as exc:
        raise NotValid("pip rejects the options") from exc
    installed, needed = set[str](), set[str]()
    for requirement in requirements if words[0] in ("install", "wheel", "download") else []:
        name = re.split(r"[\[<>=~ ]", requirement)[0]
        if (file := ROOT / name / "pyproject.toml").is_file():
            project = tomllib.loads(file.read_text())["project"]
            installed.add(project["name"])
            needed |= {each for each in project["dependencies"] if each.startswith("gatehouse-")}
        if not (
            requirement.startswith(("./", "/", _VALUE))
            or " @ " in requirement
            or name in _locked_packages()
        ):
            raise NotValid(f"pip looks {name} up in the package index; write ./{name} for a path")
    if missing := needed - installed:
        raise NotValid(f"pip looks {missing} up in the package index; add their folders")


@cache
def _aws_operations(service: str) -> dict[str, Any]:
    """The operations and waiters of a service by their names in the AWS CLI."""
    session = botocore.session.get_session()
    # The AWS CLI renames these two.
    name = {"s3api": "s3", "configservice": "config"}.get(service, service)
    if name not in session.get_available_services():
        raise NotValid(f"no such service: {service}")
    model = session.get_service_model(name)
    operations = {
        xform_name(operation, "-"): model.operation_model(operation)
        for operation in model.operation_names
    }
    with suppress(UnknownServiceError, DataNotFoundError):
        waiters = session.get_waiter_model(name)
        for waiter in waiters.waiter_names:
            operation = waiters.get_waiter(waiter).operation
            operations[f"wait {xform_name(waiter, '-')}"] = model.operation_model(operation)
    return operations


def _aws(words: list[str], complete: bool) -> None:
    operations = _aws_operations(words[0])
    operation, options = words[1], words[2:]
    if operation == "wait":
        operation, options = " ".join(words[1:3]), words[3:]
    if operation not in operations:
        raise NotValid(f"no such operation: {operation}")
    shape = operations[operation].input_shape
    inputs = {xform_name(name, "-") for name in (shape.members if shape else ())}
    given = {word[2:].partition("=")[0] for word in options if word.startswith("--")}
    given = {name if name in inputs else name.removeprefix("no-") for name in given}
    if unknown := given - inputs - _AWS_OPTIONS:
        raise NotValid(f"no such option: {unknown}")
    required = {xform_name(name, "-") for name in (shape.required_members if shape else ())}
    is_document = "cli-input-json" in given
    if complete and options and not is_document and (missing := required - given):
        raise NotValid(f"missing: {missing}")


_RULES: dict[str, Callable[[list[str], bool], None]] = {
    "gatehouse": _gatehouse,
    "gatehouse-policies": _policies,
    "make": _make,
    "pip": _pip,
    "aws": _aws,
}
