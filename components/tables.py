"""Tables in TOML files, whose strings contain names of values."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

_NAME = re.compile(r"{([^{}]+)}")


def read(module: str, name: str = "") -> dict[str, Any]:
    """Read the file beside a module, by default with the module's name. module: its `__file__`."""
    path = Path(module)
    file = path.with_name(name) if name else path.with_suffix(".toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def rows(table: Iterable[dict[str, Any]], known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the filled rows, without those whose field `if` names a false value."""
    for row in table:
        if "if" not in row or known[row["if"]]:
            yield filled({name: row[name] for name in row if name != "if"}, known)


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """Replace {name} in strings. A string that consists of one becomes the value itself; in a list,
    the elements of the value.
    """
    match value:
        case dict():
            return {key: filled(each, known) for key, each in value.items()}
        case list():
            items: list[Any] = []
            for each in value:
                item = filled(each, known)
                items += item if isinstance(item, list) and isinstance(each, str) else [item]
            return items
        case str():
            if name := _NAME.fullmatch(value):
                return Formatter().get_field(name[1], (), known)[0]
            return value.format_map(known)
    return value
