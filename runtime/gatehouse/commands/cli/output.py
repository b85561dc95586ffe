"""Output of the commands: tables for people, JSON for programs, and errors as one line on standard
error.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from gatehouse.core.errors import BadRequest, GatehouseError, SettingsError
from gatehouse.core.token_scanner import redacted

FAILED = 1
USAGE = 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: A column of a table: the name of a field, or a label and the function that returns the text.
Column = str | tuple[str, Callable[[Any], object]]

#: Characters that control a terminal (CWE-150) or the direction of its text. JSON escapes those
#: below 0x20 only. Surrogates have no encoding.
_UNESCAPED = "\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{_UNESCAPED}]|\r(?!\n)")
_NOT_IN_JSON = re.compile(f"[{_UNESCAPED}\ud800-\udfff]")

#: Fields whose empty list allows everything.
_ALL_IF_EMPTY = ("cores", "methods", "addresses")


def fail(error: GatehouseError) -> NoReturn:
    """Prints the message and the problems of an error to standard error. Exits with code 2 for a
    usage error, and with code 1 for any other error."""
    problems = [
        f"{problem.location}: {problem.message}{f' ({problem.fix})' if problem.fix else ''}"
        for problem in error.errors
    ]
    text = (
        error.public
        if isinstance(error, SettingsError) or not problems
        else f"{error.public.removesuffix('.')}: {'; '.join(problems)}"
    )
    stop(text, code=USAGE if isinstance(error, BadRequest | SettingsError) else FAILED)


def stop(text: str, *, code: int = FAILED) -> NoReturn:
    """Prints one line to standard error and exits. The text can contain arguments and messages of a
    server, so tokens are redacted and control characters are replaced.
    """
    print("gatehouse: " + printable(" ".join(text.split())), file=sys.stderr)
    sys.exit(code)


def reject(text: str) -> NoReturn:
    """Like `stop`, for a usage error."""
    stop(text, code=USAGE)


def read_file(path: Path, option: str) -> bytes:
    """The content of a file. Exits with a usage error if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        reject(f"{option} {path} cannot be read: {exc.strerror}")


def note(text: str) -> None:
    """Prints a line to standard error, so that standard output contains only data."""
    print(printable(text), file=sys.stderr)


def print_text(text: object) -> None:
    """Prints data to standard output, which can contain text of a server."""
    print(terminal_text(str(text)))


def terminal_text(text: str) -> str:
    r"""The text with control characters as `\x1b` or `\u202e`, except for line feeds and tabs."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def print_json(value: Any) -> None:
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2)
    print(_NOT_IN_JSON.sub(lambda match: json.dumps(match[0])[1:-1], text))


def print_items(items: Iterable[object], *columns: Column) -> None:
    """Prints a table of items, such as `print_items(keys, "id", ("uses", uses))`."""
    labels = [_label(column) if isinstance(column, str) else column[0] for column in columns]
    rows = [
        [
            _text(column, getattr(item, column))
            if isinstance(column, str)
            else _text("", column[1](item))
            for column in columns
        ]
        for item in items
    ]
    print_table(labels, rows)


def print_fields(item: msgspec.Struct, *omitted: str) -> None:
    names = [name for name in item.__struct_fields__ if name not in omitted]
    rows = [(_label(name), _text(name, getattr(item, name))) for name in names]
    print_table(("", ""), [row for row in rows if row[1]])


def _label(name: str) -> str:
    return name.removesuffix("_at").replace("_", " ")


def _text(name: str, value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name}={item}" for name, item in value.items())
        case list():
            empty = "all" if name in _ALL_IF_EMPTY else ""
            return " ".join(str(item) for item in value) or empty
        case None:
            return "never" if name == "expires_at" else ""
        case _:
            return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table that fits the terminal. If the output is not a terminal, the table is at most
    200 characters wide.

    Cells are plain text, never markup.
    """
    # Most commands, such as the container health check, print no table.
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def count(number: int, noun: str) -> str:
    """Number with its noun, such as `1 key` or `2 keys`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Replaces control characters, which must not reach the terminal, and redacts tokens."""
    return redacted(
        "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
            for character in text
        )
    )
