"""Tokens in any argument are not printed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import pytest
from gatehouse.commands import cli
from gatehouse.commands.cli import secrets
from gatehouse.commands.cli.common import connection

from tests.runtime.canaries import tokens
from tests.runtime.commands.cli.conftest import Command, leaf_commands

#: Commands that run until they are stopped.
SERVICES = ("serve", "core")
UNREACHABLE = {"--console": "http://127.0.0.1:1", "--gateway": "http://127.0.0.1:1", "--token": "t"}


@dataclass(frozen=True)
class Parameter:
    """A parameter that takes text, with the other parameters that its command requires."""

    command: tuple[str, ...]
    name: str
    arguments: tuple[str, ...]

    def line(self, text: str) -> list[str]:
        return [
            *self.command,
            *(text if argument == "TOKEN" else argument for argument in self.arguments),
        ]


def _value(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return str(get_args(kind)[0])
    return "1" if kind is int else "3fGh82kLmQ0a"


def _arguments(parameters: list[Any], tested: Any) -> Iterator[str]:
    for parameter in parameters:
        is_option = parameter.param_type_name == "option"
        flag = max(parameter.opts, key=len) if is_option else ""
        if parameter is tested or parameter.required or flag in UNREACHABLE:
            value = "TOKEN" if parameter is tested else UNREACHABLE.get(flag, _value(parameter))
            yield from ((flag, value) if is_option else (value,))


def parameters() -> Iterator[Parameter]:
    for path, command in leaf_commands(cli.command_line()):
        for tested in command.params:
            if not getattr(tested, "is_flag", False) and tested.name != "help":
                yield Parameter(path, tested.name, tuple(_arguments(command.params, tested)))


def test_token_in_any_argument_is_not_printed(
    bare: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connection, secrets):
        monkeypatch.setattr(module, "RETRIES", replace(connection.RETRIES, sleep=lambda _: None))
    # Commands of a group that have the same argument or option share its declaration.
    tested = {
        (parameter.command[0], parameter.name): parameter
        for parameter in parameters()
        if parameter.command[0] not in SERVICES
    }
    assert len(tested) > 100
    cycle = tokens()
    for parameter in tested.values():
        _, token, secret = next(cycle)
        result = bare.run(*parameter.line(token))
        assert secret not in result.out + result.err, (parameter.command, parameter.name)
