"""Registers commands that call the console, defines the options that several commands share, and
parses option values.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from gatehouse.commands.cli.common.connection import (
    ConsoleOption,
    ProfileOption,
    RepeatOption,
    TokenOption,
    api_errors,
    connect,
)
from gatehouse.commands.cli.common.lists import Listing
from gatehouse.commands.cli.common.output import (
    JsonOption,
    OutputOption,
    is_json,
    print_json,
    reject,
    set_form,
)
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import GatehouseError, Problem
from gatehouse.core.notation import duration_s
from gatehouse.core.tokens import token as tokens

KeyIdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Key ID: the 12 characters after the environment in a token."
    ),
]
#: A duration, and names of fields, in messages of the API.
_SECONDS = re.compile(r"\b(\d+) seconds(?: \((\w+)\))?")
_FIELD = re.compile(r"`(\w+)`|\b([a-z]+(?:_[a-z]+)+)\b")
#: Prefix of the filters of a command that has options of the same names.
FILTER = "filter_"
TIME_FORM = 'a time such as 10:00, 2026-11-30, "2026-11-30 10:00" or 2026-11-30T10:00:00Z'
_TYPED_TIME = re.compile(
    r"(?=.)(?:(\d{4}-\d\d-\d\d)(?:[ Tt](?=\d)|\Z))?"
    r"(?:(\d{1,2})(:\d\d(?::\d\d(?:\.\d{1,9})?)?)([Zz]|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
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
            errors_of_options(typed),
            api_errors(),
            connect(console, token, profile) as client,
            client.repeatable(repeat) if once else nullcontext(),
        ):
            value, show = command(client, **arguments)
            # While the client is open, so that a long list is printed page by page.
            if not is_json():
                show()
            elif isinstance(value, Listing):
                print_json([*value])
                value.note_end(only_if_more=True)
            else:
                print_json(value)

    common = [each for each in own_parameters(run) if once or each.name != "repeat"]
    parameters = [*options, *own_parameters(command)[1:], *common]
    run.__doc__ = command.__doc__
    typed = typed_names(parameters)
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


def typed_names(parameters: Sequence[inspect.Parameter]) -> dict[str, str]:
    """The options and arguments as users type them, by the names of the fields that they set."""
    names = dict[str, str]()
    for parameter in parameters:
        declared = get_args(parameter.annotation)[1:]
        for info in declared:
            # Typer reads the first name in `Annotated` as the default.
            given = (info.default, *(info.param_decls or ()))
            flags = [each for each in given if isinstance(each, str) and each.startswith("--")]
            name = parameter.name.strip("_")
            is_option = isinstance(info, typer.models.OptionInfo)
            argument = info.metavar or name.upper()
            names[name] = (flags or [f"--{name.replace('_', '-')}"])[0] if is_option else argument
    return names


@contextmanager
def errors_of_options(names: Mapping[str, str]) -> Iterator[None]:
    """Replaces the locations in errors, such as `body.ttl_s`, by what was typed: `--ttl`."""
    try:
        yield
    except GatehouseError as exc:
        exc.errors = tuple(_typed(problem, names) for problem in exc.errors)
        raise


def _typed(problem: Problem, names: Mapping[str, str]) -> Problem:
    def name_of(field: str) -> str:
        found = (f"{FILTER}{field}" if place == "query" else "", field, field.removesuffix("_s"))
        return next((names[name] for name in found if name in names), "")

    place, *fields = re.sub(r"\[\d+\]", "", problem.location).split(".")
    while len(fields) > 1 and not name_of(fields[0]):
        del fields[0]
    option = name_of(fields[0]) if fields else ""
    inner = [field.removesuffix("_s").replace("_", " ") for field in fields[bool(option) :][-1:]]
    subject = " ".join([option, *inner]).strip()
    message = _SECONDS.sub(lambda match: match[2] or f"{match[1]}s", problem.message)
    message = _FIELD.sub(lambda match: name_of(match[1] or match[2]) or match[0], message)
    return Problem(subject, message, problem.fix)


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


def instant(option: str, text: str) -> str:
    """Returns the time that a user typed, in the zone of this machine unless it names another, as a
    timestamp of the API. A time without a date is the last one. Exits with a usage error if the
    text is not a time.
    """
    match, now = _TYPED_TIME.fullmatch(text), datetime.now().astimezone()
    date, hour, rest, zone = match.groups() if match else ("", "", "", "")
    clock = f"{(hour or '00').zfill(2)}{rest or ':00'}{(zone or '').upper()}"
    try:
        typed = datetime.fromisoformat(f"{date or now.date()}T{clock}" if match else "")
    except ValueError:
        reject(f"{option} must be {TIME_FORM}")
    if not date and typed.astimezone() > now:
        typed -= timedelta(days=1)
    return rfc3339(typed.astimezone().timestamp())


def seconds(option: str, text: str) -> int:
    """Returns a duration such as `90d` in seconds. Exits with a usage error if the duration is
    malformed.
    """
    duration = duration_s(text)
    if duration is None:
        reject(f"{option} must be a duration such as 90d, 12h, 30m or 45s")
    return duration
