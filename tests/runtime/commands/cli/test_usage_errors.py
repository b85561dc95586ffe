"""Usage errors: one line, a fix, and the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse_client.errors import Unavailable, problem

from tests import requires
from tests.cases import cases
from tests.runtime.commands.cli.conftest import Command

_CASES = cases(__file__)

#: Python buffers the output, as on the machines of users.
BUFFERED = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}


def write_up_file(folder: Path, console: str = "http://127.0.0.1:1") -> None:
    (folder / ".gatehouse").mkdir()
    running = {"console": console, "admin_token": "secret"}
    (folder / ".gatehouse" / "up.json").write_text(json.dumps(running))


ERRORS: list[Any] = _CASES["errors"]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_usage_error_is_one_line_with_exit_code_2(
    bare: Command, arguments: tuple[str, ...], message: str
) -> None:
    result = bare.run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Value error" not in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [("secrets", "open"), ("keys", "list"), ("keys", "creat"), ("secrets", "open", "--claim")],
)
def test_usage_error_does_not_repeat_a_link_or_a_token(
    bare: Command, arguments: tuple[str, ...]
) -> None:
    secret = "0aB9xK2m7HqYc1dZ8e1dZ8eU0aB9xK2m7HqYc1dZ8eU"
    link = f"https://secrets.example.com/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU#{secret}"
    result = bare.run(*arguments, link)
    assert (result.code, result.out) == (2, "")
    assert secret not in result.err
    if arguments[0] == "secrets":
        assert "send it to standard input" in result.err


@pytest.mark.parametrize(
    "arguments", [(), ("keys",), ("audit",), ("--help",), ("keys", "create", "-h")]
)
def test_help_is_shown_without_a_subcommand(bare: Command, arguments: tuple[str, ...]) -> None:
    result = bare.run(*arguments)
    assert result.code == 0
    assert "Usage: gatehouse" in result.out


def test_stored_console_and_token_are_used_together(bare: Command) -> None:
    write_up_file(bare.folder)
    unreachable = bare.run("keys", "list")
    assert (unreachable.code, unreachable.err.split(":")[1]) == (
        1,
        " cannot reach the console at http",
    )
    assert "no token" in bare.run("keys", "list", "--console", "http://127.0.0.1:2").err
    assert "no console" in bare.run("keys", "list", GATEHOUSE_ADMIN_TOKEN="t").err


def test_control_characters_are_not_printed(bare: Command) -> None:
    error = bare.run("keys", "\x1b[2Jlist").err
    assert ("list" in error, "\x1b" in error) == (True, False)


@pytest.mark.parametrize("console", ["https://other.example", "http://192.0.2.1", "//", ""])
def test_console_of_another_machine_in_a_file_is_ignored(bare: Command, console: str) -> None:
    write_up_file(bare.folder, console)
    result = bare.run("keys", "list")
    assert (result.code, result.err[:23]) == (2, "gatehouse: no console: ")


@requires.ROOT_USER
@pytest.mark.parametrize("foreign", [".gatehouse", ".gatehouse/up.json"])
def test_console_in_a_file_of_another_user_is_ignored(bare: Command, foreign: str) -> None:
    write_up_file(bare.folder)
    requires.give_away(bare.folder / foreign)
    result = bare.run("keys", "list")
    assert (result.code, result.err[:23]) == (2, "gatehouse: no console: ")


@pytest.mark.parametrize("text", ["[" * 50_000, f'{{"a": "{"b" * 100_000}"}}'], ids=len)
def test_malformed_or_large_file_is_reported(bare: Command, text: str) -> None:
    write_up_file(bare.folder)
    (bare.folder / ".gatehouse/up.json").write_text(text)
    assert "up.json cannot be read: run" in bare.run("keys", "list").err


def test_version_is_printed_as_json(bare: Command) -> None:
    assert '"gatehouse"' in bare.run("version", "--json").out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("version --json >&-", "standard output and standard error must be open"),
        ("version --json 2>&-", "standard output and standard error must be open"),
        ("version --json >/dev/full", "the output cannot be written: No space left on device"),
        ("secrets create --console http://127.0.0.1:1 --token x", "input is not UTF-8 text"),
    ],
)
def test_unusable_input_or_output_is_an_error(command: str, message: str) -> None:
    program = f"{sys.executable} -c 'import gatehouse.commands.cli as cli; cli.main()'"
    run, environment = ["sh", "-c", f"{program} {command}"], {**BUFFERED, "LC_ALL": "C.UTF-8"}
    result = subprocess.run(run, env=environment, input=b"\xff", capture_output=True, check=False)
    assert (result.returncode > 0, message in str(result)) == (True, True)


def test_output_of_a_closed_pipe_is_discarded() -> None:
    read, write = os.pipe()
    os.close(read)
    program = "import gatehouse.commands.cli as cli; cli.main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "version"],
        env=BUFFERED,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


def test_answer_that_is_nested_too_deeply_is_one_error() -> None:
    reply = httpx.Response(500, content=b'{"x":' + b"[" * 100_000)
    assert isinstance(problem(reply, "console"), Unavailable)
