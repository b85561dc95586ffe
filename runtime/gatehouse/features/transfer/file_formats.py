"""File formats for imports from other systems and for sealed exports. Pure.

`api_keys.json` contains an object whose member names are tokens, or a list of objects.
`ngrok_urls.json` contains an object whose values are URLs. A wrapped object ({"keys": ...}) is
unwrapped. Entries are decoded one at a time, so memory use stays close to the size of the text.

A sealed export consists of a line of plain text, and a nonce and zlib-compressed JSON lines
encrypted with AES-256-GCM, which can be opened only with the pepper:

    {"format": "gatehouse-registry-1", "generation": 2, "id": "<32 hex>", "made_at": "...",
    "environment": "test"}\n<nonce and ciphertext>

The encryption covers the first line, so no part of the file can be changed or removed unnoticed.
"""

from __future__ import annotations

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


class Entry(msgspec.Struct, frozen=True):
    """An entry. `name`: name of the object member, or None for an item of a list."""

    line: int
    name: str | None
    value: Any


class MalformedFile(ValueError):
    """The file cannot be parsed. Lines are counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def entries(text: str) -> Iterator[Entry]:
    """Entries in the order of the file. Raises MalformedFile."""
    return _Json(text.removeprefix("\ufeff")).entries()


def without(text: str, is_removed: Callable[[Entry], bool]) -> tuple[str, int]:
    """Removes entries from a JSON file. Returns the file, otherwise unchanged, and the number of
    removed entries. Raises MalformedFile."""
    if not any(is_removed(entry) for entry in entries(text)):
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


class UnreadableExport(ValueError):
    """An export cannot be read. The message has no subject. The caller adds the location as the
    subject.
    """


def export_file(
    packed: bytes,
    pepper: Pepper,
    generation: int,
    random_bytes: Callable[[int], bytes],
    **members: str,
) -> bytes:
    """Encrypts zlib-compressed lines. `members`: further members of the first line. Raises
    ValueError if the pepper generation is not available.
    """
    head = json.dumps({"format": FORMAT, "generation": generation, **members})
    sealed = seal(packed, FORMAT, pepper, generation, random_bytes, context=head)
    if sealed is None:
        raise ValueError("the pepper generation is not available")
    return head.encode() + b"\n" + sealed


def read_export(content: bytes, pepper: Pepper) -> tuple[dict[str, Any], list[bytes]]:
    """Returns the members of the first line, and the decrypted lines. Raises UnreadableExport."""
    try:
        head = content[: content.index(b"\n", 0, 4096)]
        members = json.loads(head)
    except ValueError:
        raise UnreadableExport("was not created by gatehouse export") from None
    if not isinstance(members, dict) or members.get("format") != FORMAT:
        raise UnreadableExport("was not created by gatehouse export")
    generation = members.get("generation")
    if generation not in pepper.generations:
        raise UnreadableExport(
            f"was encrypted under pepper generation {generation}, which is not in GATEHOUSE_PEPPER"
        )
    sealed = content[len(head) + 1 :]
    packed = unseal(sealed, FORMAT, pepper, generation, context=head.decode("ascii", "replace"))
    if packed is None:
        raise UnreadableExport("was modified or truncated, or encrypted under another pepper")
    return members, zlib.decompress(packed).splitlines()
