"""Output of the commands: tables for people, JSON for programs, and errors as one line on standard
error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from gatehouse.core.errors import BadRequest, GatehouseError, SettingsError
from gatehouse.core.token_scanner import redacted

FAILED = 1
USAGE = 2


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
    """Prints one line to standard error and exits. Tokens in the text are redacted, because the
    text can contain arguments.
    """
    print("gatehouse: " + " ".join(redacted(text).split()), file=sys.stderr)
    sys.exit(code)


def note(text: str) -> None:
    """Prints a note to standard error, so that standard output contains only data."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Prints one JSON document to standard output."""
    print(json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table that fits the terminal. If the output is not a terminal, the table is at most
    200 characters wide.

    Cells are plain text, never markup.
    """
    # Most commands, such as the container health check, print no table.
    from rich.console import (
        Console,
    )
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
