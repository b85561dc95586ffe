"""Derives the IDs under which imported keys with tokens in other formats may be stored. Pure.

A presented token that does not have Gatehouse's format has one possible ID per scheme and pepper generation in use, derived
from its hash (for bcrypt, from the ID inside the token). All possible IDs are looked up in a single query. The database stores an
HMAC of the old hash, so guesses cannot be verified with a copy of the table, even for short tokens. A bcrypt hash cannot be
recomputed, so the hash is stored encrypted until the key is first used.

    sha256, sha512                  hash of the whole token
    sha256-secret, sha512-secret    hash of the part after the last separator
    bcrypt, bcrypt-secret           hash of the same parts; the ID is the part before the last separator

The separator is the last `.`, otherwise the last `:`, otherwise the last `_`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator

import bcrypt
import msgspec

from gatehouse.crypto.token import ALPHABET, STEM_CHARS, Pepper, base62, mark
from gatehouse.keys.models import OWN_SCHEME, KeyId

SCHEMES = ("sha256", "sha512", "sha256-secret", "sha512-secret", "bcrypt", "bcrypt-secret")
TOKEN_CHARS_MIN = 8
TOKEN_CHARS_MAX = 512

#: Each step doubles the duration of a check. A cost of 14 takes about a second.
BCRYPT_COST_MAX = 14
_SECRET = "-secret"  # noqa: S105 - suffix of a scheme
_BCRYPT_BYTES = 72  # bcrypt ignores further bytes; newer libraries raise an error instead
_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ID = re.compile(r"[!-~]{1,200}")
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
        """Records that a key with this scheme exists whose ID was derived under this pepper generation."""
        if scheme != OWN_SCHEME:
            self._schemes[(scheme, id_generation)] = None

    def candidates(self, token: str) -> list[Candidate]:
        """Candidates for a token, at most one for each scheme and generation in use."""
        if not self._schemes or not is_token(token):
            return []
        candidates = []
        for scheme, generation in self._schemes:
            text = locator(scheme, token)
            key_id = None if text is None else imported_key_id(text, self._pepper, generation)
            if key_id is not None:
                candidates.append(Candidate(key_id, scheme, material(scheme, token)))
        return candidates


def is_token(text: str) -> bool:
    """True for 8 to 512 visible ASCII characters."""
    return TOKEN_CHARS_MIN <= len(text) <= TOKEN_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text


def split_token(token: str) -> tuple[str, str] | None:
    """The ID before the last separator and the secret after it, or None if there is no separator or either part is empty."""
    separator = next((character for character in ".:_" if character in token), "")
    before, _, after = token.rpartition(separator) if separator else ("", "", "")
    return (before, after) if before and after else None


def material(scheme: str, token: str) -> str:
    """Input of the HMAC for a token. The input is ASCII and never the token itself."""
    algorithm = scheme.removesuffix(_SECRET)
    if algorithm not in _HASH_BYTES:
        return f"{scheme}:{hashlib.sha256(token.encode()).hexdigest()}"
    return material_of_hash(scheme, hashlib.new(algorithm, _hashed_part(scheme, token).encode()).digest())


def material_of_hash(scheme: str, digest: bytes) -> str:
    """Input of the HMAC, computed only from the old hash, because an import does not contain the token."""
    return f"{scheme}:{digest.hex()}"


def locator(scheme: str, token: str) -> str | None:
    """Text from which the ID of a token is derived, or None if the scheme requires a separator and the token has none."""
    split = split_token(token)
    if split is None and (scheme.endswith(_SECRET) or scheme == "bcrypt"):
        return None
    if scheme.startswith("bcrypt"):
        return None if split is None else locator_of_id(scheme, split[0])
    return material(scheme, token)


def locator_of_id(scheme: str, identity: str) -> str:
    return f"{scheme}:{identity}"


def imported_key_id(locator: str, pepper: Pepper, generation: int) -> KeyId | None:
    """Key ID for a locator: eight derived characters and the mark. None if the pepper generation is not available."""
    digest = pepper.digest(f"imported-id:{locator}", generation)
    if digest is None:
        return None
    stem = base62(int.from_bytes(digest[:16], "big") % len(ALPHABET) ** STEM_CHARS, STEM_CHARS)
    id_mark = mark(stem, pepper, generation)
    return None if id_mark is None else KeyId(stem + id_mark)


def ids_of(locators: Iterable[str], pepper: Pepper) -> Iterator[KeyId]:
    """Key IDs for the locators, under every available pepper generation."""
    for locator in locators:
        for generation in pepper.generations:
            key_id = imported_key_id(locator, pepper, generation)
            if key_id is not None:
                yield key_id


def read_hash(algorithm: str, text: str) -> bytes | str:
    """Parses a SHA hash in hexadecimal or base64, or a bcrypt hash, into bytes. Returns an error message if the hash is
    malformed."""
    if algorithm == "bcrypt":
        match = _BCRYPT.fullmatch(text)
        if match is None:
            return "is not a bcrypt hash, such as $2b$12$ and 53 characters"
        if not 4 <= int(match[1]) <= BCRYPT_COST_MAX:
            return f"has a bcrypt cost of {int(match[1])}; 4 to {BCRYPT_COST_MAX} can be imported"
        return text.encode()
    size = _HASH_BYTES[algorithm]
    try:
        if re.fullmatch(rf"[0-9A-Fa-f]{{{2 * size}}}", text):
            return bytes.fromhex(text)
        digest = base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    return digest if len(digest) == size else f"is not a {algorithm} hash in hexadecimal ({2 * size} characters) or base64"


def is_id(text: str) -> bool:
    """True if `text` can be the ID before the separator in a token."""
    return _ID.fullmatch(text) is not None


def bcrypt_matches(scheme: str, token: str, hashed: bytes) -> bool:
    """True if the token has this hash. Takes about a quarter of a second at a cost of 12, so do not call this function in an
    event loop."""
    try:
        return bcrypt.checkpw(_hashed_part(scheme, token).encode()[:_BCRYPT_BYTES], hashed)
    except ValueError:
        return False


def hash_purpose(key_id: KeyId) -> str:
    """Purpose under which the bcrypt hash of a key is sealed."""
    return f"imported-hash:{key_id}"


def _hashed_part(scheme: str, token: str) -> str:
    split = split_token(token)
    return token if not scheme.endswith(_SECRET) or split is None else split[1]
