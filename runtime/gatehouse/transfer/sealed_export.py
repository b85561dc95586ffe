"""File format of an export: a line of plain text, then encrypted frames that can only be opened with the pepper, in order.

    {"format": "gatehouse-registry-1", "generation": 2, "salt": "<32 hex>", "made_at": "...", "environment": "test"}\n
    4 bytes of length, big-endian, then nonce and AES-256-GCM of zlib-compressed lines of JSON; repeated

Each frame is sealed for the salt of the file, its number, and whether it is the last one. Frames can therefore not be removed,
reordered or copied from another file, and a truncated file is detected.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from gatehouse.crypto.sealing import seal, unseal
from gatehouse.crypto.token import Pepper

FORMAT = "gatehouse-registry-1"

#: Maximum size of a decompressed frame. A frame has a thousand rows of some kilobytes.
_FRAME_BYTES_MAX = 64 << 20


class UnreadableExport(ValueError):
    """An export cannot be read. The message is a sentence without its subject."""


def head(generation: int, salt: str, **members: str) -> bytes:
    return json.dumps({"format": FORMAT, "generation": generation, "salt": salt, **members}).encode() + b"\n"


def frame(
    lines: bytes, number: int, *, last: bool, salt: str, pepper: Pepper, generation: int, random_bytes: Callable[[int], bytes]
) -> bytes:
    """Raises ValueError if the pepper generation is not available."""
    sealed = seal(zlib.compress(lines), _purpose(salt, number, last), pepper, generation, random_bytes)
    if sealed is None:
        raise ValueError("the pepper generation is not available")
    return len(sealed).to_bytes(4, "big") + sealed


def read_head(content: bytes) -> dict[str, Any]:
    """Raises UnreadableExport."""
    try:
        members = json.loads(content[: content.index(b"\n", 0, 4096)])
    except ValueError:
        raise UnreadableExport("is not an export of gatehouse export") from None
    if not isinstance(members, dict) or not str(members.get("format", "")).startswith("gatehouse-registry-"):
        raise UnreadableExport("is not an export of gatehouse export")
    if members["format"] != FORMAT or not isinstance(members.get("generation"), int) or not isinstance(members.get("salt"), str):
        raise UnreadableExport(f"is an export of another version ({str(members['format'])[:40]})")
    return members


def frames(content: bytes, pepper: Pepper) -> Iterator[bytes]:
    """Lines of each frame. Raises UnreadableExport, possibly after the last frame: read all frames before using one."""
    head = read_head(content)
    generation = head["generation"]
    if generation not in pepper.generations:
        raise UnreadableExport(f"was encrypted under pepper generation {generation}, which is not in GATEHOUSE_PEPPER")
    position, number = content.index(b"\n") + 1, 0
    while position < len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        sealed = content[position + 4 : position + 4 + size]
        position += 4 + size
        packed = unseal(sealed, _purpose(head["salt"], number, position == len(content)), pepper, generation)
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
