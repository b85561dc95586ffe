"""Output of the commands: tables for people, JSON for programs, and errors as one line on standard
error.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import typer

from gatehouse.core.errors import BadRequest, GatehouseError, SettingsError
from gatehouse.core.texts import visible
from gatehouse.core.tokens.token_scanner import redacted

FAILED = 1
USAGE = 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutputOption = Annotated[
    Literal["json", "tsv", "table"] | None,
    typer.Option(
        "--output",
        envvar="GATEHOUSE_OUTPUT",
        show_envvar=True,
        help="Form of the output: json, tsv (tab-separated values without a header) or table. "
        "Default: table in a terminal, otherwise tsv.",
    ),
]
#: The form of the output that --output and --json set.
_form: str | None = None
#: Minimum width of a column whose text is folded in a narrow terminal.
_FOLDED_CHARS_MIN = 12

#: A column of a table: the name of a field, or a label and the function that returns the text.
Column = str | tuple[str, Callable[[Any], object]]

#: Characters that control a terminal (CWE-150) or the direction of its text. JSON escapes those
#: below 0x20 only. Surrogates have no encoding.
_UNESCAPED = "\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{_UNESCAPED}]|\r(?!\n)")
_NOT_IN_JSON = re.compile(f"[{_UNESCAPED}\ud800-\udfff]")

#: A timestamp of the API, and its form for people.
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_LOCAL_TIME = "%Y-%m-%d %H:%M:%S %Z"
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [\w+-]+", re.ASCII)

#: Fields whose empty list allows everything.
_ALL_IF_EMPTY = ("cores", "methods", "addresses")


def fail(error: GatehouseError) -> NoReturn:
    """Prints each problem of an error once, or else its message, to standard error. Exits with code
    2 for a usage error, and with code 1 for any other error."""
    problems = dict.fromkeys(
        f"{problem.location} {problem.message}".strip()
        + (f" ({problem.fix})" if problem.fix else "")
        for problem in error.errors
    )
    text = error.public
    if problems and not isinstance(error, SettingsError):
        is_general = text == f"{BadRequest.title}."
        text = f"{'' if is_general else f'{text} '}{'; '.join(problems)}"
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
    print(local_times(printable(text)), file=sys.stderr)


def print_sentence(text: str) -> None:
    """Prints what was done to standard output."""
    print_text(local_times(text))


def local_times(text: str) -> str:
    """The text with timestamps of the API in the zone of this machine, in whole seconds."""

    def local(match: re.Match[str]) -> str:
        try:
            return datetime.fromisoformat(match[0]).astimezone().strftime(_LOCAL_TIME)
        except (ValueError, OverflowError):
            return match[0]

    return _TIME.sub(local, text)


def print_text(text: object) -> None:
    """Prints data to standard output, which can contain text of a server."""
    print(terminal_text(str(text)))


def terminal_text(text: str) -> str:
    r"""The text with control characters as `\x1b` or `\u202e`, except for line feeds and tabs."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def print_json(value: Any) -> None:
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2)
    print(_NOT_IN_JSON.sub(lambda match: json.dumps(match[0])[1:-1], text))


def set_form(form: str | None) -> None:
    """Sets the form of the output: json, tsv, table, or None for the default."""
    global _form
    _form = form


def is_json() -> bool:
    """True if standard output is one JSON document."""
    return _form == "json"


def print_items(items: Iterable[object], *columns: Column) -> None:
    """Prints a table of items, such as `print_items(keys, "id", ("uses", uses))`."""
    labels = [_label(column) if isinstance(column, str) else column[0] for column in columns]
    rows = (
        [
            _text(column, getattr(item, column))
            if isinstance(column, str)
            else _text("", column[1](item))
            for column in columns
        ]
        for item in items
    )
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


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table that fits the terminal: text is folded, IDs and times are not, and the last
    columns are omitted if they do not fit. Programs receive tab-separated values with the times of
    the API, each row as soon as it is known. Cells are plain text, never markup.
    """
    plain = ([printable(cell) for cell in row] for row in rows)
    if _form == "tsv" or (_form is None and not sys.stdout.isatty()):
        for row in plain:
            print("\t".join(row), flush=True)
        return
    cells = [[local_times(cell) for cell in row] for row in plain]
    # Most commands, such as the container health check, print no table.
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    widths = [max(map(cell_len, each)) for each in zip(columns, *cells, strict=True)]
    folded = [max(len(column), _FOLDED_CHARS_MIN) for column in columns]
    for row in cells:
        times = (cell_len(cell) if _LOCAL.fullmatch(cell) else 0 for cell in row)
        folded = list(map(max, folded, times))
    least = [
        width if "id" in column.split() else min(width, most)
        for column, width, most in zip(columns, widths, folded, strict=True)
    ]
    shown = len(columns)
    while shown > 1 and sum(least[:shown]) + 3 * shown + 1 > console.width:
        shown -= 1
    table = Table(header_style="bold")
    for column, width in zip(columns[:shown], least, strict=False):
        table.add_column(column, overflow="fold", min_width=width)
    for row in cells:
        table.add_row(*row[:shown])
    console.print(table)
    if omitted := columns[shown:]:
        note(f"Columns that do not fit: {', '.join(omitted)} (--output json prints all).")


def printable(text: str) -> str:
    """Replaces control characters, which must not reach the terminal, and redacts tokens."""
    return redacted(visible(text, "\N{REPLACEMENT CHARACTER}"))
