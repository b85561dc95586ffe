"""docs/settings-runtime.md: every variable that a process, the command line or a policy pack reads."""

from __future__ import annotations

import enum
import ipaddress
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from annotated_types import Ge, Le, MaxLen, MinLen
from gatehouse import cli
from gatehouse.settings import PREFIX, Settings
from gatehouse.types import Limit
from pydantic.fields import FieldInfo

from tools.docs.markdown import prose, table

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
CONTRACT = tomllib.loads((RUNTIME / "contract.toml").read_text())
FOREIGN = {"AWS_REGION": "Region of the AWS services that the process calls; a name of AWS, not of ours."}
READ_BY = {
    "gateway": ("app/gateway.py", "app/database.py"),
    "console": ("app/console.py", "app/sharing.py", "app/database.py", "app/watch.py", "app/leaks.py"),
    "migrate": ("cli/migrate.py",),
}
"""Where each process takes its settings apart."""
PACKS = {
    "GATEHOUSE_EXEMPTIONS": "File of exemptions of a program that takes the packs from here. Unset: `policies/exemptions.toml`.",
    "GATEHOUSE_IGNORE_EXEMPTIONS": "`1` applies no exemption, so that an auditor sees everything.",
}
HEAD = """# Settings of the runtime

A process of Gatehouse takes its settings from environment variables alone, reads them once at its start, and refuses to start on
a wrong, missing or unknown `GATEHOUSE_*` variable; the message names the variable and never repeats a value. An empty value
counts as unset. The names are those of [runtime/contract.toml](../runtime/contract.toml).
"""
COLUMNS = ("variable", "meaning", "default", "allowed", "processes", "secret")


def page() -> str:
    """The whole text of docs/settings-runtime.md."""
    stand_ins = ", ".join(f"`{row['name']}`" for row in CONTRACT["variable"] if row.get("stand_in"))
    return "\n".join(
        (
            HEAD,
            "## Set by a deployment\n\nThe task definitions set all of these for the processes and functions that are named.\n",
            table(COLUMNS, (_row(row["name"], _told(row)) for row in CONTRACT["variable"])),
            f"\nThe sandbox replaces only what points at servers or addresses of AWS ({stand_ins}), and adds `GATEHOUSE_BIND` and"
            " the ports.\n",
            "## Secrets\n\nECS fills these from Secrets Manager. They never stand in a task definition, a log or an error.\n",
            table(COLUMNS, (_row(row["name"], row["processes"]) for row in CONTRACT["secret"])),
            "\n## Optional\n\nA stack file sets these for the processes that are named: by the key in the last column, or as an"
            " entry of [`variables`](settings.md). `image`: for a container by itself; no stack changes it.\n",
            table((*COLUMNS, "set by"), ((*_row(row["name"], row["processes"]), _key(row)) for row in CONTRACT["optional"])),
            "\n## Of the command line\n\nEach stands for an option, which wins over it.\n",
            table(("variable", "option", "meaning", "commands", "secret"), _options()),
            "\n## Of the policy packs\n\nRead where the packs run, not by a process.\n",
            table(("variable", "meaning"), ((f"`{name}`", meaning) for name, meaning in PACKS.items())) + "\n",
        )
    )


def _row(name: str, processes: list[str]) -> tuple[str, ...]:
    if name in FOREIGN:
        return f"`{name}`", FOREIGN[name], "required", "text", ", ".join(processes), "no"
    field = Settings.model_fields[name.removeprefix(PREFIX).lower()]
    kind = ", ".join(_allowed(field))
    secret = name in {row["name"] for row in (*CONTRACT["secret"], *CONTRACT["optional"]) if "kind" in row}
    return f"`{name}`", prose(field.description or ""), _default(field), kind, ", ".join(processes), "yes" if secret else "no"


def _key(row: dict[str, Any]) -> str:
    """The key of a stack file that sets an optional variable."""
    return f"`{row.get('setting', 'variables')}`" if row.get("setting") != "image" else "image"


def _told(row: dict[str, Any]) -> list[str]:
    """The processes that are given a variable, and the functions that are."""
    return [*row["processes"], *(f"{function} (function)" for function in row.get("functions", ()))]


def readers(name: str) -> Iterator[str]:
    """The processes whose composition takes this setting; those that serve, when it is the server that does."""
    field = name.removeprefix(PREFIX).lower()
    files = {process: "".join((RUNTIME / "gatehouse" / path).read_text() for path in paths) for process, paths in READ_BY.items()}
    found = [process for process, text in files.items() if f"settings.{field}" in text]
    for process, facts in CONTRACT["process"].items():
        own_port = field.removesuffix("_port") in facts["services"]
        if process in found or own_port or (not found and not field.endswith("_port") and facts["services"]):
            yield process


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "required"
    if value in (None, "", ()):
        return "unset"
    if isinstance(value, Limit):
        return f"`{value.quota}/{value.window_s}`"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _allowed(field: FieldInfo) -> Iterator[str]:
    """What a value may be, in words, from the type and the bounds."""
    kind: Any = field.annotation
    bounds = {type(item): item for item in field.metadata}
    if get_origin(kind) is Literal:
        yield from (f"`{choice}`" for choice in get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield from (f"`{choice.value}`" for choice in kind)
    elif Ge in bounds and Le in bounds:
        yield f"{bounds[Ge].ge} to {bounds[Le].le}"
    elif MinLen in bounds and MaxLen in bounds:
        yield f"text of {bounds[MinLen].min_length} to {bounds[MaxLen].max_length} characters"
    elif get_origin(kind) is tuple and ipaddress.IPv4Network in get_args(get_args(kind)[0]):
        yield "networks (CIDR), with commas between"
    elif kind is Limit:
        yield "requests/seconds"
    else:
        yield "text"


def _options() -> Iterator[tuple[str, ...]]:
    """The options of the `gatehouse` command that a variable can stand for, each with the commands that take it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for command, option in _walk(typer.main.get_command(cli.build()), "gatehouse"):
        if isinstance(option.envvar, str):
            found.setdefault((option.envvar, option.opts[0], option.help or ""), []).append(f"`{command}`")
    for (name, flag, text), commands in sorted(found.items()):
        yield f"`{name}`", f"`{flag}`", prose(text), ", ".join(commands), "yes" if name.endswith("_TOKEN") else "no"


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every option below a command: those of a group's commands, and its own."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, f"{path} {name}")
    yield from ((path, one) for one in command.params if one.param_type_name == "option")
