"""The form of a sealed registry: a line in clear that says what it is, then frames that open only with the pepper, in order.

    {"format": "gatehouse-registry-1", "generation": 2, "salt": "<32 hex>", "made_at": "...", "environment": "test"}\n
    4 bytes of length, big-endian, and that many bytes: nonce and AES-256-GCM of zlib-compressed lines of JSON; and so on

Each frame is sealed for the file's salt, its number, and whether it is the last: none can be left out, moved or taken from
another file, and one that was cut off is told from a whole one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from gatehouse.crypto.sealing import seal, unseal
from gatehouse.crypto.token import Pepper

FORMAT = "gatehouse-registry-1"


#: What one frame may become when it is unpacked: a frame of ours holds a thousand rows of some kilobytes.
_FRAME_BYTES_MAX = 64 << 20


class UnreadableExport(ValueError):
    """Why a file cannot be opened, as a sentence without its subject."""


def head(generation: int, salt: str, **said: str) -> bytes:
    return json.dumps({"format": FORMAT, "generation": generation, "salt": salt, **said}).encode() + b"\n"


def frame(
    lines: bytes, number: int, *, last: bool, salt: str, pepper: Pepper, generation: int, random_bytes: Callable[[int], bytes]
) -> bytes:
    """Raises ValueError when the generation is not held."""
    sealed = seal(zlib.compress(lines), _purpose(salt, number, last), pepper, generation, random_bytes)
    if sealed is None:
        raise ValueError("the pepper generation is not held")
    return len(sealed).to_bytes(4, "big") + sealed


def read_head(content: bytes) -> dict[str, Any]:
    """Raises UnreadableExport."""
    try:
        found = json.loads(content[: content.index(b"\n", 0, 4096)])
    except ValueError:
        raise UnreadableExport("is no sealed registry") from None
    if not isinstance(found, dict) or not str(found.get("format", "")).startswith("gatehouse-registry-"):
        raise UnreadableExport("is no sealed registry")
    if found["format"] != FORMAT or not isinstance(found.get("generation"), int) or not isinstance(found.get("salt"), str):
        raise UnreadableExport(f"is a sealed registry of another version ({str(found['format'])[:40]})")
    return found


def frames(content: bytes, pepper: Pepper) -> Iterator[bytes]:
    """The lines of each frame. Raises UnreadableExport, at the latest at the end: use nothing before all of it was read."""
    said = read_head(content)
    generation = said["generation"]
    if generation not in pepper.generations:
        raise UnreadableExport(f"was sealed under pepper generation {generation}, which is not in GATEHOUSE_PEPPER")
    at, number = content.index(b"\n") + 1, 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        sealed = content[at + 4 : at + 4 + size]
        at += 4 + size
        packed = unseal(sealed, _purpose(said["salt"], number, at == len(content)), pepper, generation)
        if packed is None or len(sealed) != size:
            raise UnreadableExport("was changed or cut off, or was sealed under another pepper")
        unpacked = zlib.decompressobj()
        lines = unpacked.decompress(packed, _FRAME_BYTES_MAX)
        if unpacked.unconsumed_tail:
            raise UnreadableExport("holds a frame that is too large")
        yield lines
        number += 1
    if not number:
        raise UnreadableExport("was cut off")


def _purpose(salt: str, number: int, last: bool) -> str:
    return f"registry:{salt}:{number}:{'last' if last else 'more'}"
