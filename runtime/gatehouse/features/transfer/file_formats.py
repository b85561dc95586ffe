"""File formats for imports from legacy systems and for sealed exports.

`api_keys.json` is an object whose names are tokens, and whose values are attributes of keys.
`ngrok_urls.json` is an object whose names are tokens or names of Cores, and whose values are URLs.

A sealed export consists of a line of plain text, and a nonce and zlib-compressed JSON lines
encrypted with AES-256-GCM, which can be opened only with the pepper:

    {"format": "gatehouse-registry-1", "generation": 2, "id": "<32 hex>", "made_at": "...",
    "environment": "test"}\n<nonce and ciphertext>

The encryption covers the first line, so no part of the file can be changed or removed unnoticed.
"""

import json
import re
import secrets
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from gatehouse.core.tokens.sealing import seal, unseal
from gatehouse.core.tokens.token import Pepper

#: Field names in `api_keys.json` that differ from those of Gatehouse.
ALIASES = {
    "created": "created_at",
    "expires": "expires_at",
    "rate_limit": "limits",
    "active": "enabled",
    "owner": "customer_id",
}


class Entry(msgspec.Struct, frozen=True):
    """A member of the object. row: its number in the file, from 1."""

    row: int
    name: str
    value: Any


class MalformedFile(ValueError):
    """The file cannot be parsed. The message has no subject, and contains nothing of the file."""


def entries(text: str) -> list[Entry]:
    """Return the entries in the order of the file. Raises MalformedFile."""
    return [Entry(row, *member) for row, member in enumerate(_parsed(text).items(), 1)]


def without(text: str, is_removed: Callable[[str], bool]) -> tuple[str, int]:
    """Remove entries by their names. Returns the file, otherwise unchanged, and the number of
    removed entries. Raises MalformedFile, and ValueError for a number that JSON cannot represent.
    """
    document = _parsed(text)
    remaining = {name: value for name, value in document.items() if not is_removed(name)}
    count = len(document) - len(remaining)
    if not count:
        return text, 0
    indent = re.search(r"\n([ \t]+)\S", text)
    written = json.dumps(
        remaining, ensure_ascii=False, allow_nan=False, indent=indent[1] if indent else None
    )
    # UTF-8 has no unpaired surrogates, so they remain escaped.
    written = re.sub(r"[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", written)
    return written + ("\n" if text.endswith("\n") else ""), count


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_members)
    except json.JSONDecodeError as exc:
        raise MalformedFile(f"is not valid JSON (line {exc.lineno})") from None
    except MalformedFile:
        raise
    except ValueError:
        raise MalformedFile("contains a number with too many digits") from None
    except RecursionError:
        raise MalformedFile("is nested too deeply") from None
    if not isinstance(document, dict):
        raise MalformedFile("must be a JSON object")
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedFile("has two members with the same name")
    return members


FORMAT = "gatehouse-registry-1"


class UnreadableExport(ValueError):
    """An export cannot be read. The message has no subject. The caller adds the location as the
    subject.
    """


def export_file(packed: bytes, pepper: Pepper, generation: int, **members: str) -> bytes:
    """Encrypts zlib-compressed lines. `members`: further members of the first line."""
    head = json.dumps({"format": FORMAT, "generation": generation, **members})
    sealed = seal(packed, FORMAT, pepper, generation, secrets.token_bytes, context=head)
    return head.encode() + b"\n" + sealed


def read_export(content: bytes, pepper: Pepper) -> tuple[dict[str, Any], list[bytes]]:
    """Returns the members of the first line, and the decrypted lines. Raises UnreadableExport."""
    try:
        head = content[: content.index(b"\n", 0, 4096)]
        members = json.loads(head)
    except (ValueError, RecursionError):
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
