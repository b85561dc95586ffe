"""File formats for imports from other systems and for sealed exports.

`api_keys.json` is an object whose names are tokens, and whose values are attributes of keys.
`ngrok_urls.json` is an object whose names are tokens or names of Cores, and whose values are URLs.
A CSV file has the names of the attributes in its first row, and the tokens in one of its columns.
A declarative file of Kong (YAML or JSON) has consumers with credentials of the plugin key-auth.

A sealed export consists of a line of plain text, and a nonce and zlib-compressed JSON lines
encrypted with AES-256-GCM, which can be opened only with the pepper:

    {"format": "gatehouse-registry-1", "generation": 2, "id": "<32 hex>", "made_at": "...",
    "environment": "test"}\n<nonce and ciphertext>

The encryption covers the first line, so no part of the file can be changed or removed unnoticed.
"""

import csv
import io
import json
import re
import secrets
import zlib
from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from itertools import chain
from typing import Any

import msgspec

from gatehouse.core.errors import BadRequest
from gatehouse.core.tokens.sealing import seal, unseal
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.web.validation import NAME_CHARS_MAX, validate

#: Field names in files of other systems that differ from those of Gatehouse.
ALIASES = {
    "created": "created_at",
    "expires": "expires_at",
    "ttl": "ttl_s",
    "rate_limit": "limits",
    "active": "enabled",
    "owner": "customer_id",
}

#: Column of a CSV file that has the tokens, or their hashes.
TOKEN, HASH = "token", "sha256"

#: Maximum `ttl` of a credential in Kong, in seconds. An export of its database has the time of the
#: expiry instead (Unix seconds), which is larger.
_KONG_TTL_S_MAX = 100_000_000
_DIGITS = re.compile("[0-9]{1,12}")

#: Fields of a credential in Kong without a meaning outside of the file.
_KONG_REFERENCES = ("key", "id", "consumer")


class FileFormat(StrEnum):
    JSON = "json"
    CSV = "csv"
    KONG = "kong"


#: Formats by the ending of the file name. The format of any other file is JSON.
ENDINGS = {"csv": FileFormat.CSV, "yaml": FileFormat.KONG, "yml": FileFormat.KONG}


class Entry(msgspec.Struct, frozen=True):
    """A row of a file.

    row: its number. Members of a JSON object and credentials count from 1; the first row of a CSV
        file has the names of the columns.
    name: token, hash of a token or name of a Core. hashed: the name is a hash.
    problem: why the row cannot be read, or empty.
    """

    row: int
    name: str
    value: Any
    hashed: bool = False
    problem: str = ""


class MalformedFile(ValueError):
    """The file cannot be parsed. The message has no subject, and contains nothing of the file but
    names of columns.
    """


def entries(
    text: str,
    file_format: FileFormat = FileFormat.JSON,
    *,
    columns: Collection[str] = (),
    hashed: bool = False,
) -> list[Entry]:
    """Return the entries in the order of the file. Raises MalformedFile.

    columns: columns that a CSV file can have, besides the tokens. hashed: the file has SHA-256
    hashes of tokens instead of tokens.
    """
    match file_format:
        case FileFormat.JSON:
            members = enumerate(_parsed(text).items(), 1)
            return [Entry(row, *member, hashed=hashed) for row, member in members]
        case FileFormat.CSV:
            return list(_csv_entries(text, columns, hashed=hashed))
        case FileFormat.KONG:
            return list(_kong_entries(text, hashed=hashed))


def _csv_entries(text: str, columns: Collection[str], *, hashed: bool) -> Iterator[Entry]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        tokens = [name for name in header if name in (TOKEN, HASH)]
        if len(tokens) != 1:
            # Quotes no name: without a header, the first row has a token.
            message = f"must have one column {TOKEN} or {HASH}; the first row has the names of the"
            raise MalformedFile(f"{message} columns, separated by commas")
        for number, name in enumerate(header, 1):
            quoted = ascii(name[:NAME_CHARS_MAX])
            if name in header[: number - 1]:
                raise MalformedFile(f"has the column {quoted} twice")
            if name not in columns and name not in tokens:
                fix = f"remove it, correct its name, or ignore it: --ignore {quoted}"
                raise MalformedFile(f"has the unknown column {quoted} ({fix})")
        hashed = hashed or tokens == [HASH]
        for row, cells in enumerate(reader, 2):
            if len(cells) == len(header):
                value = dict(zip(header, cells, strict=True))
                name = value.pop(tokens[0])
                value = {column: cell for column, cell in value.items() if cell}
                yield Entry(row, name, value, hashed)
            elif cells:  # an empty line has none
                problem = f"has {len(cells)} cells instead of {len(header)}"
                yield Entry(row, "", None, problem=problem)
    except csv.Error:
        raise MalformedFile(f"is not valid CSV (line {reader.line_num})") from None


class _Consumer(msgspec.Struct):
    """Consumer of Kong. https://developer.konghq.com/gateway/entities/consumer (2026-11)."""

    id: str | None = None
    username: str | None = None
    custom_id: str | None = None
    tags: list[str] | None = None
    keyauth_credentials: list[Any] | None = None


class _KongFile(msgspec.Struct):
    """The parts of a declarative file that are imported. Credentials are checked by row."""

    version: str = msgspec.field(name="_format_version")
    consumers: list[_Consumer] | None = None
    keyauth_credentials: list[Any] | None = None


def _kong_entries(text: str, *, hashed: bool) -> Iterator[Entry]:
    try:
        file = validate(_yaml(text), _KongFile, "")
    except BadRequest as exc:
        [problem] = exc.errors
        place = problem.location.removeprefix(".")
        what = f"{place} {problem.message}".strip()
        raise MalformedFile(f"is not a declarative file of Kong: {what}") from None
    consumers = {
        name: each for each in file.consumers or () for name in (each.id, each.username) if name
    }
    nested = [(each, item) for each in file.consumers or () for item in _items(each)]
    others = [(_named(item, consumers), item) for item in _items(file)]
    for row, (consumer, item) in enumerate(chain(nested, others), 1):
        if not isinstance(item, dict):
            yield Entry(row, "", None, problem="must be an object")
        elif consumer is None:
            yield Entry(row, "", None, problem="has a consumer that is not in the file")
        else:
            name = item.get("key")
            yield Entry(row, name if isinstance(name, str) else "", _key(item, consumer), hashed)


def _items(source: _Consumer | _KongFile) -> list[Any]:
    return source.keyauth_credentials or []


def _named(item: Any, consumers: dict[str, _Consumer]) -> _Consumer | None:
    """The consumer to which a credential refers by its ID or user name, or by an object with one of
    them.
    """
    name = item.get("consumer") if isinstance(item, dict) else None
    if isinstance(name, dict):
        name = name.get("id") or name.get("username")
    return consumers.get(name) if isinstance(name, str) else None


def _key(credential: dict[str, Any], consumer: _Consumer) -> dict[str, Any]:
    """The attributes of the key for a credential."""
    value = {name: item for name, item in credential.items() if name not in _KONG_REFERENCES}
    expiry, tags = value.get("ttl"), value.get("tags") or []
    if isinstance(expiry, str) and _DIGITS.fullmatch(expiry) and int(expiry) > _KONG_TTL_S_MAX:
        value["expires_at"] = value.pop("ttl")
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        value["tags"] = [*dict.fromkeys([*(consumer.tags or ()), *tags])]
    name = consumer.username or consumer.custom_id
    return {"name": name, "customer_id": consumer.custom_id or name, "customer_name": name, **value}


def _yaml(text: str) -> Any:
    try:
        # An optional package.
        from gatehouse.features.transfer.yaml_document import MalformedYaml, parse
    except ImportError:
        fix = "install it with: pip install 'gatehouse-runtime[server]'"
        raise MalformedFile(f"can only be read with the package PyYAML; {fix}") from None
    try:
        return parse(text)
    except MalformedYaml as exc:
        raise MalformedFile(str(exc)) from None


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
        numbers = dict[str, int]()
        for number, (name, _) in enumerate(pairs, 1):
            if numbers.setdefault(name, number) != number:
                same = f"members {numbers[name]} and {number} of an object"
                raise MalformedFile(f"has two members with the same name ({same})")
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
