"""What the commands print: tables for people, JSON for programs, errors as one line on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from gatehouse.errors import BadRequest, GatehouseError, SettingsError

FAILED = 1


USAGE = 2


def fail(error: GatehouseError) -> NoReturn:
    """Prints the public text of an error and ends the process: 2 when the caller can type something else, 1 otherwise."""
    parts = [f"{problem.location}: {problem.message}{f' ({problem.fix})' if problem.fix else ''}" for problem in error.errors]
    text = error.public if isinstance(error, SettingsError) or not parts else f"{error.public}: {'; '.join(parts)}"
    stop(text, code=USAGE if isinstance(error, BadRequest | SettingsError) else FAILED)


def stop(text: str, *, code: int = FAILED) -> NoReturn:
    """One line on standard error, then the end of the process."""
    print("gatehouse: " + " ".join(text.split()), file=sys.stderr)
    sys.exit(code)


def note(text: str) -> None:
    """A remark for people; on standard error, so that standard output stays usable by programs."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that fits the terminal; cells are plain text, never markup. Wide as its content when no terminal reads it."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def _plain(text: str) -> str:
    """Control characters of stored names must not reach the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
