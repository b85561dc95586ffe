"""Derives the IDs under which imported keys with tokens in other formats may be stored. Pure.

A presented token that does not have Gatehouse's format has one possible ID per scheme and pepper
generation in use, derived from its hash. All possible IDs are looked up in a single query. The
database stores an HMAC of the old hash, so guesses cannot be verified with a copy of the table,
even for short tokens.

    sha256, sha512                  hash of the whole token
    sha256-secret, sha512-secret    hash of the part after the last separator

The separator is the last `.`, otherwise the last `:`, otherwise the last `_`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator

import msgspec

from gatehouse.core.keys import OWN_SCHEME, KeyId
from gatehouse.core.token import ALPHABET, STEM_CHARS, Pepper, base62, mark

SCHEMES = ("sha256", "sha512", "sha256-secret", "sha512-secret")
TOKEN_CHARS_MIN = 8
TOKEN_CHARS_MAX = 512
_SECRET = "-secret"  # noqa: S105 - suffix of a scheme
_HASH_BYTES = {"sha256": 32, "sha512": 64}


class Candidate(msgspec.Struct, frozen=True):
    """An ID under which a token may be stored, with its scheme and the input of its HMAC."""

    id: KeyId
    scheme: str
    material: str


class ImportedKeyIds:
    """Schemes and ID generations of the imported keys, in one worker.

    While there are no imported keys, tokens in other formats cause no lookups.
    """

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self._schemes: dict[tuple[str, int], None] = {}

    def add(self, scheme: str, id_generation: int) -> None:
        """Records that a key with this scheme exists whose ID was derived under this pepper
        generation.
        """
        if scheme != OWN_SCHEME:
            self._schemes[(scheme, id_generation)] = None

    def candidates(self, token: str) -> list[Candidate]:
        """Candidates for a token, at most one for each scheme and generation in use."""
        if not self._schemes or not is_token(token):
            return []
        candidates = []
        for scheme, generation in self._schemes:
            text = material(scheme, token)
            key_id = None if text is None else imported_key_id(text, self._pepper, generation)
            if text is not None and key_id is not None:
                candidates.append(Candidate(key_id, scheme, text))
        return candidates


def is_token(text: str) -> bool:
    """True for 8 to 512 visible ASCII characters."""
    return (
        TOKEN_CHARS_MIN <= len(text) <= TOKEN_CHARS_MAX
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )


def split_token(token: str) -> tuple[str, str] | None:
    """The ID before the last separator and the secret after it, or None if there is no separator or
    either part is empty.
    """
    separator = next((character for character in ".:_" if character in token), "")
    before, _, after = token.rpartition(separator) if separator else ("", "", "")
    return (before, after) if before and after else None


def material(scheme: str, token: str) -> str | None:
    """Input of the HMACs for a token: of its ID and of its digest. The input is ASCII and never the
    token itself.

    None if the scheme requires a separator and the token has none.
    """
    hashed = token
    if scheme.endswith(_SECRET):
        split = split_token(token)
        if split is None:
            return None
        hashed = split[1]
    return material_of_hash(
        scheme, hashlib.new(scheme.removesuffix(_SECRET), hashed.encode()).digest()
    )


def material_of_hash(scheme: str, digest: bytes) -> str:
    """Input of the HMAC, computed only from the old hash, because an import does not contain the
    token.
    """
    return f"{scheme}:{digest.hex()}"


def imported_key_id(material: str, pepper: Pepper, generation: int) -> KeyId | None:
    """Key ID for the material of a token: eight derived characters and the mark. None if the pepper
    generation is not available."""
    digest = pepper.digest(f"imported-id:{material}", generation)
    if digest is None:
        return None
    stem = base62(int.from_bytes(digest[:16], "big") % len(ALPHABET) ** STEM_CHARS, STEM_CHARS)
    id_mark = mark(stem, pepper, generation)
    return None if id_mark is None else KeyId(stem + id_mark)


def ids_of(materials: Iterable[str], pepper: Pepper) -> Iterator[KeyId]:
    """Key IDs for the materials, under every available pepper generation."""
    for text in materials:
        for generation in pepper.generations:
            key_id = imported_key_id(text, pepper, generation)
            if key_id is not None:
                yield key_id


def read_hash(algorithm: str, text: str) -> bytes:
    """Parses a hash in hexadecimal or base64 into bytes. Raises ValueError with the rest of a
    sentence if the hash is malformed.
    """
    size = _HASH_BYTES[algorithm]
    try:
        if re.fullmatch(rf"[0-9A-Fa-f]{{{2 * size}}}", text):
            return bytes.fromhex(text)
        digest = base64.b64decode(
            text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True
        )
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size:
        raise ValueError(
            f"is not a {algorithm} hash in hexadecimal ({2 * size} characters) or base64"
        )
    return digest
