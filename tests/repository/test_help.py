"""The help of `gatehouse`, `gatehouse-policies` and `make`."""

import argparse
import os
import pty
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from gatehouse.commands import cli
from gatehouse_policies.__main__ import parser as policies_parser

from tests.repository import documented_commands

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 80
#: What Typer and argparse print for the type of a value.
TYPE = re.compile(r"<(?:str|int|float|bool|file|path|dir)\b|\blist\[|\bTEXT\b")

#: The beginning of the list of parameters.
LISTS = re.compile(r"^(?:Arguments|Options|options):$", re.MULTILINE)


def typer_pages(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, Any, str]]:
    """The path, the parameters with their help, and the help of each command."""
    context = command.make_context(
        path.split()[-1], [], parent=parent, resilient_parsing=True, terminal_width=COLUMNS
    )
    inner = getattr(command, "commands", {})
    yield path, [(row.opts[0], row.help) for row in command.params], context.get_help()
    for name, child in inner.items():
        yield from typer_pages(child, f"{path} {name}", context)


def argparse_pages(parser: argparse.ArgumentParser) -> Iterator[tuple[str, Any, str]]:
    visible = [row for row in parser._actions if row.help != argparse.SUPPRESS]
    groups = [row for row in visible if isinstance(row, argparse._SubParsersAction)]
    parameters = [(row.dest, row.help) for row in visible if row not in groups]
    yield parser.prog, parameters, parser.format_help()
    for group in groups:
        for child in group.choices.values():
            yield from argparse_pages(child)


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[list[tuple[str, str]], str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(COLUMNS))
        rows = [*typer_pages(cli.command_line(), "gatehouse"), *argparse_pages(policies_parser())]
    assert len(rows) > 45
    return {path: (parameters, text) for path, parameters, text in rows}


Pages = dict[str, tuple[list[tuple[str, str]], str]]


def test_options_and_arguments_have_a_description(pages: Pages) -> None:
    parameters = [(path, *row) for path, (rows, _) in pages.items() for row in rows]
    assert len(parameters) > 250
    assert [
        (path, name)
        for path, name, text in parameters
        if not re.search("[A-Z].*", (text or "").removeprefix("show this")) and name != "help"
    ] == []


def test_help_has_no_types_of_python_and_fits_the_terminal(pages: Pages) -> None:
    forms = {path: LISTS.split(text, maxsplit=1)[-1] for path, (_, text) in pages.items()}
    assert [path for path, text in forms.items() if TYPE.search(text)] == []
    assert [
        line for _, text in pages.values() for line in text.splitlines() if len(line) > COLUMNS
    ] == []


def test_every_command_has_an_example_that_can_be_typed(
    pages: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    groups = {path.rpartition(" ")[0] for path in pages} | {"gatehouse-policies"}
    commands = {path: text for path, (_, text) in pages.items() if path not in groups}
    assert len(commands) > 40
    for path, text in commands.items():
        examples = re.findall(r"^ *Example: (.*)$", text, re.MULTILINE)
        assert examples, path
        for example in examples:
            assert example.startswith(f"{path} ") or example == path
            for word in shlex.split(example):  # the files that the command reads
                if re.fullmatch(r"[\w-]+\.\w+", word):
                    (tmp_path / word).touch()
            (command, *_) = documented_commands.commands(f"```console\n$ {example}\n```")
            documented_commands.check(command)


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_help_of_make_has_colors_in_a_terminal(variables: dict[str, str], colored: bool) -> None:
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    terminal, output = pty.openpty()
    text = b""
    with subprocess.Popen(["make", "help"], cwd=ROOT, stdout=output, env=env):
        os.close(output)
        with suppress(OSError):  # Linux: EIO after the end of the process
            while part := os.read(terminal, 4096):
                text += part
    os.close(terminal)
    assert b"api-keys" in text
    assert (b"\x1b[36mapi-keys" in text) is colored


def test_help_of_make_names_the_variables_of_each_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    own = set(re.findall(r"^([A-Z_]+) *:?=", makefile, re.MULTILINE)) | {"MAKE", "MAKEFILE_LIST"}
    own |= {"CURDIR", "NPM_FOLDERS"}
    rows = re.findall(
        r"^([a-z-]+):[^\n]*?## ([^\n]*)\n((?:\t[^\n]*\n|if[^\n]*\n|e[^\n]*\n)*)", makefile, re.M
    )
    assert len(rows) > 25
    used = {
        name: set(re.findall(r"(?<!\$)\$[({](?:[a-z-]+ [^A-Z$]*)?([A-Z_]+)\b", recipe)) - own
        for name, _, recipe in rows
    }
    assert sum(map(len, used.values())) > 15
    assert {
        name: missing
        for name, text, _ in rows
        if (missing := {variable for variable in used[name] if f"{variable}=" not in text})
    } == {}
