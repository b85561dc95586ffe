"""Registers commands that call the console, defines the options that several commands share, and
parses option values.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Annotated, Any

import typer

from gatehouse.commands.cli.common.connection import (
    ConsoleOption,
    ProfileOption,
    RepeatOption,
    TokenOption,
    api_errors,
    connect,
)
from gatehouse.commands.cli.common.output import (
    JsonOption,
    OutputOption,
    is_json,
    print_json,
    reject,
    set_form,
)
from gatehouse.core.notation import duration_s
from gatehouse.core.tokens import token as tokens

KeyIdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Key ID: the 12 characters after the environment in a token."
    ),
]
#: Result of a command: the value that --json prints, and a function that prints the result for
#: people.
Output = tuple[object, Callable[[], None]]


def console_command(
    app: typer.Typer,
    command: Callable[..., Output],
    name: str = "",
    *,
    help: str = "",
    options: Sequence[inspect.Parameter] = (),
    once: bool = False,
) -> None:
    """Registers a command of the console, with the options of a connection, --output and --json.

    The command receives a client as its first argument. name: by default, that of the function.
    options: parameters that the command receives as `**settings`. once: the result is shown only
    once, so the command has the option --repeat.
    """

    def run(
        console: ConsoleOption = "",
        token: TokenOption = "",
        profile: ProfileOption = "",
        as_json: JsonOption = False,
        output: OutputOption = None,
        repeat: RepeatOption = "",
        **arguments: Any,
    ) -> None:
        set_form("json" if as_json else output)
        with (
            api_errors(),
            connect(console, token, profile) as client,
            client.repeatable(repeat) if once else nullcontext(),
        ):
            value, show = command(client, **arguments)
        if is_json():
            print_json(value)
        else:
            show()

    common = [each for each in own_parameters(run) if once or each.name != "repeat"]
    parameters = [*options, *own_parameters(command)[1:], *common]
    run.__doc__ = command.__doc__
    name = name or command.__name__.rstrip("_").replace("_", "-")
    app.command(name=name, help=help or None)(with_options(run, parameters))


def with_options(
    command: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """The command with these parameters, some of which it receives as `**settings`."""

    @wraps(command)
    def run(**arguments: Any) -> None:
        command(**arguments)

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    run.__annotations__ = {keyword.name: keyword.annotation for keyword in keywords}
    return run


def own_parameters(command: Callable[..., object]) -> list[inspect.Parameter]:
    """The parameters of a function, except for `**settings`."""
    return [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def key_id(text: str) -> str:
    """Returns the key ID. Exits with a usage error if the text is not a key ID. The text is not
    printed, because it may be a token."""
    if tokens.key_id(text) is None:
        reject(
            "ID must be a key ID of 12 letters and digits (see `gatehouse keys list`), not a token"
        )
    return text


def seconds(option: str, text: str) -> int:
    """Returns a duration such as `90d` in seconds. Exits with a usage error if the duration is
    malformed.
    """
    duration = duration_s(text)
    if duration is None:
        reject(f"{option} must be a duration such as 90d, 12h, 30m or 45s")
    return duration
