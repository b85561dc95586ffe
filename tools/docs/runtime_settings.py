"""docs/settings-runtime.md: environment variables of the container, the command line and the policy
packs.
"""

import enum
import ipaddress
import tomllib
from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from gatehouse.commands import cli
from gatehouse.core.keys import RateLimit
from gatehouse.platform.settings import PREFIX, ConsoleSettings, GatewaySettings, Settings
from pydantic.fields import FieldInfo

from components import contract
from tools.docs import core_settings, markdown
from tools.docs.descriptions import field_descriptions
from tools.docs.markdown import prose, table

_WRITTEN = "Written by `make docs`. ---\n"
"""End of the part of the contract that is edited."""
AWS_VARIABLES = {"AWS_REGION": "Region of the AWS services that the process calls."}
SHOWN_MAX = 5
"""Number of commands from which a row does not list them."""
COLUMNS = ("variable", "description", "default", "allowed")


def page() -> str:
    """One table for each way in which a variable is set."""
    variables = tomllib.loads(contract_file())
    setters = {row["name"]: f"`{row['setting']}`" for row in variables["optional"]}
    settable = dict.fromkeys(chain.from_iterable(variables["settable"].values()))
    setters |= dict.fromkeys(settable, "`environment_variables`")
    return markdown.page(
        "settings-runtime",
        deployed=table(COLUMNS, (_row(row["name"]) for row in variables["variable"])),
        secrets=table(COLUMNS, (_row(row["name"]) for row in variables["secret"])),
        optional=table(
            (*COLUMNS, "set by"),
            ((*_row(name), setter.replace("`image`", "image")) for name, setter in setters.items()),
        ),
        cores=core_settings.settings_table(),
        identity_headers=core_settings.identity_headers(),
        owned_headers=core_settings.owned_headers(),
        options=table(("variable", "option", "description", "commands"), _options()),
    )


def contract_file() -> str:
    """runtime/contract.toml, with the settings that the edited part does not declare."""
    edited, marker, _ = contract.PATH.read_text().partition(_WRITTEN)
    declared = tomllib.loads(edited)
    rows = [row for part in ("variable", "secret", "optional") for row in declared[part]]
    fields = [
        field
        for field in Settings.model_fields
        if PREFIX + field.upper() not in {row["name"] for row in rows}
    ]
    lines = ["[settable]"]
    for process, others in (("gateway", ConsoleSettings), ("console", GatewaySettings)):
        names = sorted(
            PREFIX + field.upper() for field in fields if field not in others.model_fields
        )
        lines += [f"{process} = [", *(f'  "{name}",' for name in names), "]"]
    return "\n".join((f"{edited}{marker}", *lines, ""))


def _row(name: str) -> tuple[str, ...]:
    if name in AWS_VARIABLES:
        return f"`{name}`", AWS_VARIABLES[name], "required", "text"
    field = Settings.model_fields[name.removeprefix(PREFIX).lower()]
    secret = " (secret)" if name in contract.read().secret_variables else ""
    return (
        f"`{name}`{secret}",
        prose(description(name)),
        _default(field),
        ", ".join(_allowed(field)),
    )


def description(name: str) -> str:
    """Description of a variable: the description of its field, or the docstring of the field."""
    return field_descriptions(Settings)[name.removeprefix(PREFIX).lower()]


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "required"
    if value in (None, "", (), {}):
        return "unset"
    if isinstance(value, RateLimit):
        return f"`{value.quota}/{value.window_s}`"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _allowed(field: FieldInfo) -> Iterator[str]:
    """The accepted values, from the type and its bounds."""
    kind: Any = field.annotation
    bounds = {type(item): item for item in field.metadata}
    if get_origin(kind) is Literal:
        yield from (f"`{choice}`" for choice in get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield from (f"`{choice.value}`" for choice in kind)
    elif Ge in bounds and Le in bounds:
        yield f"{bounds[Ge].ge} to {bounds[Le].le}"
    elif MinLen in bounds and MaxLen in bounds:
        yield f"{bounds[MinLen].min_length} to {bounds[MaxLen].max_length} characters"
    elif get_origin(kind) is tuple and ipaddress.IPv4Network in get_args(get_args(kind)[0]):
        yield "comma-separated CIDRs"
    elif kind is bool:
        yield "`True` or `False`"
    elif kind is RateLimit:
        yield "requests/seconds"
    else:
        yield "text"


def _options() -> Iterator[tuple[str, ...]]:
    """The options of the `gatehouse` command that have an environment variable, with their
    commands.
    """
    commands: dict[tuple[str, str, str], list[str]] = {}
    for command, option in _walk(cli.command_line(), "gatehouse"):
        if isinstance(option.envvar, str):
            commands.setdefault((option.envvar, option.opts[0], option.help or ""), []).append(
                f"`{command}`"
            )
    for (name, flag, text), names in sorted(commands.items()):
        yield (
            f"`{name}`",
            f"`{flag}`",
            prose(text),
            ", ".join(names) if len(names) < SHOWN_MAX else "all that call the console",
        )


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, f"{path} {name}")
    yield from ((path, option) for option in command.params if option.param_type_name == "option")
