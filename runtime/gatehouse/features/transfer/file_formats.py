"""File formats for imports from other systems (JSON, CSV) and for sealed exports. Pure.

`api_keys.json` contains an object whose member names are tokens, or a list of objects.
`ngrok_urls.json` contains an object whose values are URLs. A wrapped object ({"keys": ...}) is
unwrapped. Entries are decoded one at a time, so memory use stays close to the size of the text.

A sealed export consists of a line of plain text and encrypted frames, which can be opened only with
the pepper:

    {"format": "gatehouse-registry-1", "generation": 2, "salt": "<32 hex>", "made_at": "...",
    "environment": "test"}\n 4-byte length (big-endian), then a nonce and zlib-compressed JSON lines
    encrypted with AES-256-GCM; once per frame

Each frame is bound to the salt of the file, its own number, and whether it is the last frame.
Frames therefore cannot be removed, reordered or copied from another file, and a truncated file is
detected.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import msgspec

from gatehouse.core.sealing import seal, unseal
from gatehouse.core.token import Pepper

#: Members that contain the entries if their value is an object or list.
WRAPPERS = frozenset(
    {"keys", "api_keys", "apiKeys", "urls", "ngrok_urls", "cores", "data", "items"}
)
_SPACE = re.compile(r"[ \t\r\n]*")
CSV, JSON = "csv", "json"


class Entry(msgspec.Struct, frozen=True):
    """An entry. `name`: name of the object member, or None for other entries. `value`: JSON value;
    for CSV, an object of strings."""

    line: int
    name: str | None
    value: Any


class MalformedFile(ValueError):
    """The file cannot be parsed. Lines are counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def kind_of(file_name: str) -> str:
    """Format of a file, determined by the file name extension. The default is JSON."""
    return CSV if file_name.lower().endswith(".csv") else JSON


def entries(text: str, kind: str) -> Iterator[Entry]:
    """Entries in the order of the file. Raises MalformedFile."""
    text = text.removeprefix("\ufeff")
    return _csv(text) if kind == CSV else _Json(text).entries()


def without(text: str, is_removed: Callable[[Entry], bool]) -> tuple[str, int]:
    """Removes entries from a JSON file. Returns the file, otherwise unchanged, and the number of
    removed entries. Raises MalformedFile."""
    if not any(is_removed(entry) for entry in entries(text, JSON)):
        return text, 0
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as exc:
        raise MalformedFile(exc.lineno, "is not valid JSON") from None
    count = 0

    def pruned(value: Any) -> Any:
        nonlocal count
        if isinstance(value, list):
            items = [item for item in value if not is_removed(Entry(0, None, item))]
            count += len(value) - len(items)
            return items
        members = {}
        for name, item in value.items():
            if name in WRAPPERS and isinstance(item, list | dict):
                members[name] = pruned(item)
            elif is_removed(Entry(0, name, item)):
                count += 1
            else:
                members[name] = item
        return members

    indent = re.search(r"\n([ \t]+)\S", text)
    written = json.dumps(pruned(document), ensure_ascii=False, indent=indent[1] if indent else None)
    return written + ("\n" if text.endswith("\n") else ""), count


def _csv(text: str) -> Iterator[Entry]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        names = reader.fieldnames or []
        if not names or any(not name.strip() for name in names) or len(set(names)) != len(names):
            raise MalformedFile(1, "must have a first line with unique column names")
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                raise MalformedFile(line, f"does not have the {len(names)} cells of the first line")
            yield Entry(
                line, None, {name.strip(): cell for name, cell in row.items() if cell != ""}
            )
    except csv.Error:
        raise MalformedFile(max(line, reader.reader.line_num), "is not valid CSV") from None


#: Depth of wrappers, such as {"data": {"keys": [...]}}.
_WRAPPERS_MAX = 8


class _Json:
    """Iterates over the outermost object or list and decodes its values one at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._counted = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)

    def entries(self) -> Iterator[Entry]:
        yield from self._container()
        self._space()
        if self._position != len(self._text):
            self._fail("contains more than one JSON value")

    def _container(self, depth: int = 0) -> Iterator[Entry]:
        if depth > _WRAPPERS_MAX:
            self._fail("has too many wrappers around its entries")
        is_object = self._accept("{")
        if not is_object and not self._accept("["):
            self._fail("must be a JSON object or list")
        closing = "}" if is_object else "]"
        if self._accept(closing):
            return
        while True:
            self._space()
            line, name = self._line, None
            if is_object:
                name = self._value()
                if not self._accept(":") or not isinstance(name, str):
                    self._fail("is not valid JSON")
                self._space()
            if name in WRAPPERS and self._text.startswith(("{", "["), self._position):
                yield from self._container(depth + 1)
            else:
                yield Entry(line, name, self._value())
            if self._accept(closing):
                return
            if not self._accept(","):
                self._fail("is not valid JSON")

    def _accept(self, character: str) -> bool:
        """Skips white space, and then the character. Returns False if another character follows."""
        self._space()
        if not self._text.startswith(character, self._position):
            return False
        self._position += 1
        return True

    def _value(self) -> Any:
        try:
            value, self._position = self._decoder.raw_decode(self._text, self._position)
        except (ValueError, RecursionError) as exc:
            self._fail(_reason(exc))
        return value

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._position)
        self._position = match.end() if match else self._position
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position

    def _fail(self, message: str) -> NoReturn:
        raise MalformedFile(self._line, message) from None


class _DuplicateMember(ValueError):
    """An object has two members with the same name."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateMember
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _reason(exc: Exception) -> str:
    return (
        "has two members with the same name"
        if isinstance(exc, _DuplicateMember)
        else "is not valid JSON"
    )


FORMAT = "gatehouse-registry-1"

#: Maximum size of a decompressed frame. A frame has a thousand rows of a few kilobytes each.
_FRAME_BYTES_MAX = 64 << 20


class UnreadableExport(ValueError):
    """An export cannot be read. The message has no subject. The caller adds the location as the
    subject.
    """


def head(generation: int, salt: str, **members: str) -> bytes:
    return (
        json.dumps({"format": FORMAT, "generation": generation, "salt": salt, **members}).encode()
        + b"\n"
    )


def frame(
    lines: bytes,
    number: int,
    *,
    last: bool,
    salt: str,
    pepper: Pepper,
    generation: int,
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """Encrypts lines as a frame. Raises ValueError if the pepper generation is not available."""
    sealed = seal(
        zlib.compress(lines), _purpose(salt, number, last), pepper, generation, random_bytes
    )
    if sealed is None:
        raise ValueError("the pepper generation is not available")
    return len(sealed).to_bytes(4, "big") + sealed


def read_head(content: bytes) -> dict[str, Any]:
    """Parses the first line of an export. Raises UnreadableExport."""
    try:
        members = json.loads(content[: content.index(b"\n", 0, 4096)])
    except ValueError:
        raise UnreadableExport("was not created by gatehouse export") from None
    if not isinstance(members, dict) or not str(members.get("format", "")).startswith(
        "gatehouse-registry-"
    ):
        raise UnreadableExport("was not created by gatehouse export")
    if (
        members["format"] != FORMAT
        or not isinstance(members.get("generation"), int)
        or not isinstance(members.get("salt"), str)
    ):
        raise UnreadableExport(f"is an export of another version ({str(members['format'])[:40]})")
    return members


def frames(content: bytes, pepper: Pepper) -> Iterator[bytes]:
    """Yields the lines of each frame. Raises UnreadableExport, possibly after the last frame, so
    read all frames before you use any."""
    head = read_head(content)
    generation = head["generation"]
    if generation not in pepper.generations:
        raise UnreadableExport(
            f"was encrypted under pepper generation {generation}, which is not in GATEHOUSE_PEPPER"
        )
    position, number = content.index(b"\n") + 1, 0
    while position < len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        sealed = content[position + 4 : position + 4 + size]
        position += 4 + size
        packed = unseal(
            sealed, _purpose(head["salt"], number, position == len(content)), pepper, generation
        )
        if packed is None or len(sealed) != size:
            raise UnreadableExport("was modified or truncated, or encrypted under another pepper")
        unpacked = zlib.decompressobj()
        lines = unpacked.decompress(packed, _FRAME_BYTES_MAX)
        if unpacked.unconsumed_tail:
            raise UnreadableExport("has a frame that is too large")
        yield lines
        number += 1
    if not number:
        raise UnreadableExport("was truncated")


def _purpose(salt: str, number: int, last: bool) -> str:
    return f"registry:{salt}:{number}:{'last' if last else 'more'}"
