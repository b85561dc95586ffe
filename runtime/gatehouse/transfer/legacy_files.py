"""The files of older deployments, entry by entry with its line: JSON, lines of JSON, CSV; and a file without some of them.

`api_keys.json` is an object of tokens (or a list of objects), `ngrok_urls.json` an object of URLs. One that is wrapped
({"keys": ...}) is unwrapped. Only one entry at a time is made into Python objects: memory stays near the size of the text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import msgspec

#: Members that hold the entries, when they hold an object or list themselves.
WRAPPERS = frozenset({"keys", "api_keys", "apiKeys", "urls", "ngrok_urls", "cores", "data", "items"})


_SPACE = re.compile(r"[ \t\r\n]*")


CSV, LINES, JSON = "csv", "lines", "json"


class Entry(msgspec.Struct, frozen=True):
    """`name`: the member's name in an object, None elsewhere. `value`: a JSON value; of CSV an object of texts."""

    line: int
    name: str | None
    value: Any


class MalformedFile(ValueError):
    """The file as a whole cannot be read. `line` is 1 for the first."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def kind_of(file_name: str) -> str:
    """By the end of its name; everything else is JSON."""
    suffix = file_name.rpartition(".")[2].lower()
    return CSV if suffix == "csv" else LINES if suffix in {"ndjson", "jsonl"} else JSON


def entries(text: str, kind: str) -> Iterator[Entry]:
    """In the order of the file. Raises MalformedFile."""
    text = text.removeprefix("\ufeff")
    return _csv(text) if kind == CSV else _lines(text) if kind == LINES else _Json(text).entries()


def without(text: str, gone: Callable[[Entry], bool]) -> tuple[str, int]:
    """A JSON file without the entries that are gone, and how many were. Order and indentation stay. Raises MalformedFile."""
    removed = {(entry.line, entry.name) for entry in entries(text, JSON) if gone(entry)}
    if not removed:
        return text, 0
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as exc:
        raise MalformedFile(exc.lineno, "is not valid JSON") from None
    count = 0

    def pruned(value: Any) -> Any:
        nonlocal count
        if isinstance(value, list):
            kept = [item for item in value if not gone(Entry(0, None, item))]
        elif isinstance(value, dict):
            kept_members = {
                name: pruned(item) if name in WRAPPERS and isinstance(item, list | dict) else item
                for name, item in value.items()
                if (name in WRAPPERS and isinstance(item, list | dict)) or not gone(Entry(0, name, item))
            }
            count += len(value) - len(kept_members)
            return kept_members
        else:
            return value
        count += len(value) - len(kept)
        return kept

    indent = re.search(r"\n([ \t]+)\S", text)
    written = json.dumps(pruned(document), ensure_ascii=False, indent=indent[1] if indent else None)
    return written + ("\n" if text.endswith("\n") else ""), count


def _csv(text: str) -> Iterator[Entry]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        names = reader.fieldnames or []
        if not names or any(not name.strip() for name in names) or len(set(names)) != len(names):
            raise MalformedFile(1, "needs a first line that names every column once")
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                raise MalformedFile(line, f"has not the {len(names)} cells that the first line names")
            yield Entry(line, None, {name.strip(): cell for name, cell in row.items() if cell != ""})
    except csv.Error:
        raise MalformedFile(max(line, reader.reader.line_num), "is not valid CSV") from None


def _lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield Entry(number, None, json.loads(line, object_pairs_hook=_members, parse_constant=_no_constant))
            except (ValueError, RecursionError) as exc:
                raise MalformedFile(number, _why(exc)) from None


class _Json:
    """Walks over the outermost object or list and decodes what is in it one by one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)

    def entries(self) -> Iterator[Entry]:
        yield from self._container()
        self._space()
        if self._at != len(self._text):
            self._fail("holds more than one JSON value")

    def _container(self) -> Iterator[Entry]:
        self._space()
        opening = self._text[self._at : self._at + 1]
        if opening not in ("{", "["):
            self._fail("must be a JSON object or list")
        closing = "}" if opening == "{" else "]"
        self._at += 1
        self._space()
        if self._text.startswith(closing, self._at):
            self._at += 1
            return
        while True:
            self._space()
            line, name = self._line, None
            if opening == "{":
                name = self._value()
                self._space()
                if not isinstance(name, str) or not self._text.startswith(":", self._at):
                    self._fail("is not valid JSON")
                self._at += 1
                self._space()
            if name in WRAPPERS and self._text[self._at : self._at + 1] in ("{", "["):
                yield from self._container()
            else:
                yield Entry(line, name, self._value())
            self._space()
            if self._text.startswith(closing, self._at):
                self._at += 1
                return
            if not self._text.startswith(",", self._at):
                self._fail("is not valid JSON")
            self._at += 1

    def _value(self) -> Any:
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except (ValueError, RecursionError) as exc:
            self._fail(_why(exc))
        return value

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at

    def _fail(self, message: str) -> NoReturn:
        raise MalformedFile(self._line, message) from None


class _Twice(ValueError):
    """An object names a member twice."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Twice
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _why(exc: Exception) -> str:
    return "names a member twice" if isinstance(exc, _Twice) else "is not valid JSON"
