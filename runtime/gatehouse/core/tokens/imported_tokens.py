"""Derives the IDs under which imported keys with tokens in other formats may be stored. Pure.

A presented token that does not have Gatehouse's format has one possible ID per pepper generation in
use, derived from the SHA-256 hash of the token, so an import needs only the hash. All possible IDs
are looked up in a single query. The database stores an HMAC of the hash, so guesses cannot be
verified with a copy of the table, even for short tokens.
"""

import base64
import hashlib
import re

from gatehouse.core.keys import OWN_SCHEME, KeyId
from gatehouse.core.notation import is_visible_ascii
from gatehouse.core.tokens.token import ALPHABET, STEM_CHARS, Pepper, base62, mark

#: Scheme of imported keys: the stored digest is an HMAC of the SHA-256 hash of the token.
SCHEME = "sha256"
TOKEN_CHARS_MIN = 8
TOKEN_CHARS_MAX = 512

#: SHA-256 hash of a token: in hexadecimal, or in base64 (RFC 4648, section 4 or 5).
_HEX = re.compile("[0-9A-Fa-f]{64}")
_BASE64 = re.compile("[0-9A-Za-z+/_-]{43}=?")
_STANDARD_ALPHABET = str.maketrans("-_", "+/")


class ImportedKeyIds:
    """ID generations of the imported keys, in one worker.

    While there are no imported keys, tokens in other formats cause no lookups.
    """

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self._generations: dict[int, None] = {}

    def add(self, scheme: str, id_generation: int) -> None:
        """Records that a key with this scheme exists whose ID was derived under this pepper
        generation.
        """
        if scheme != OWN_SCHEME:
            self._generations[id_generation] = None

    def candidates(self, token: str) -> tuple[str, list[KeyId]]:
        """The material of a token, and the IDs under which the token may be stored, at most one for
        each generation in use.
        """
        if not self._generations or not is_token(token):
            return "", []
        text = material(token)
        used = [number for number in self._generations if number in self._pepper.generations]
        return text, [imported_key_id(text, self._pepper, generation) for generation in used]


def is_token(text: str) -> bool:
    return TOKEN_CHARS_MIN <= len(text) <= TOKEN_CHARS_MAX and is_visible_ascii(text)


def material(token: str) -> str:
    """Input of the HMACs for a token: of its ID and of its digest. The input is ASCII and never the
    token itself.
    """
    return f"{SCHEME}:{hashlib.sha256(token.encode()).hexdigest()}"


def hash_material(text: str) -> str | None:
    """The same for the SHA-256 hash of a token: 64 hexadecimal digits, or 32 bytes in base64 or
    base64url. None for other text.
    """
    if _HEX.fullmatch(text):
        return f"{SCHEME}:{text.lower()}"
    if _BASE64.fullmatch(text):
        digest = base64.b64decode(f"{text[:43].translate(_STANDARD_ALPHABET)}=")
        return f"{SCHEME}:{digest.hex()}"
    return None


def imported_key_id(material: str, pepper: Pepper, generation: int) -> KeyId:
    """Key ID for the material of a token: eight derived characters and the mark, under an available
    pepper generation.
    """
    digest = pepper.hmac(f"imported-id:{material}", generation)
    stem = base62(int.from_bytes(digest[:16], "big") % len(ALPHABET) ** STEM_CHARS, STEM_CHARS)
    return KeyId(stem + mark(stem, pepper, generation))


def ids_of(material: str, pepper: Pepper) -> list[KeyId]:
    """Key IDs for the material of a token, under every available pepper generation."""
    return [imported_key_id(material, pepper, generation) for generation in pepper.generations]
