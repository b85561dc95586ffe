"""Keys that others made: how one is found and verified without knowing what it looks like; it looks nothing up.

A presented token that is not of our own format has at most a handful of ids under which it could be stored, each derived under
the pepper from its hash (or, for bcrypt, from the id inside it). So it is found by its id like every key, in one look-up, and
nothing is ever tried one after the other. What is stored is an HMAC of the old hash: a copy of the table verifies nothing, not
even a guess at a short token. A bcrypt hash cannot be computed again, so it waits, encrypted, for the first use.

    sha256, sha512                  of the whole token
    sha256-secret, sha512-secret    of what stands behind its last separator
    bcrypt, bcrypt-secret           the same; the id is what stands before the last separator

The separator is the last `.`; without one, the last `:`; without either, the last `_`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator

import bcrypt
import msgspec

from gatehouse.core.apikey import ALPHABET, STEM_CHARS, Pepper, base62, mark
from gatehouse.types import OWN_SCHEME, KeyId

SCHEMES = ("sha256", "sha512", "sha256-secret", "sha512-secret", "bcrypt", "bcrypt-secret")
TOKEN_CHARS_MIN = 8
TOKEN_CHARS_MAX = 512
#: Each step doubles the time of a guess; 14 is about a second.
BCRYPT_COST_MAX = 14
#: The digest of a bcrypt key before its first use: no HMAC is ever all zeros.
UNPROVEN = bytes(32)
_SECRET = "-secret"  # noqa: S105 - the end of a scheme's name
_BCRYPT_BYTES = 72  # what bcrypt looks at; the rest is cut, as the libraries that made the hashes did
_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ID = re.compile(r"[!-~]{1,200}")
_BYTES = {"sha256": 32, "sha512": 64}


class Candidate(msgspec.Struct, frozen=True):
    """Under which id a token may be stored, in which scheme, and of what its HMAC is made."""

    id: KeyId
    scheme: str
    material: str


class Foreign:
    """Which schemes and id generations there are among the keys, for one worker; none: a foreign token costs nothing."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self._seen: dict[tuple[str, int], None] = {}

    def saw(self, scheme: str, id_generation: int) -> None:
        """A key of this scheme exists whose id was derived under this generation."""
        if scheme != OWN_SCHEME:
            self._seen[(scheme, id_generation)] = None

    def candidates(self, token: str) -> list[Candidate]:
        """At most one for each scheme and generation that there is."""
        if not self._seen or not is_token(token):
            return []
        found = []
        for scheme, generation in self._seen:
            place = locator(scheme, token)
            identity = None if place is None else foreign_id(place, self._pepper, generation)
            if identity is not None:
                found.append(Candidate(identity, scheme, material(scheme, token)))
        return found


def is_token(text: str) -> bool:
    """What can be a token of somebody else: 8 to 512 visible ASCII characters."""
    return TOKEN_CHARS_MIN <= len(text) <= TOKEN_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text


def parts(token: str) -> tuple[str, str] | None:
    """(id, secret) around the last separator; None when there is none or either is empty."""
    separator = next((one for one in ".:_" if one in token), "")
    before, _, after = token.rpartition(separator) if separator else ("", "", "")
    return (before, after) if before and after else None


def material(scheme: str, token: str) -> str:
    """What the HMAC of a token is made of. ASCII; never the token itself."""
    algorithm = scheme.removesuffix(_SECRET)
    if algorithm not in _BYTES:
        return f"{scheme}:{hashlib.sha256(token.encode()).hexdigest()}"
    split = parts(token)
    hashed = token if not scheme.endswith(_SECRET) or split is None else split[1]
    return material_of_hash(scheme, hashlib.new(algorithm, hashed.encode()).digest())


def material_of_hash(scheme: str, digest: bytes) -> str:
    """The same from the old hash alone, which is all that an import has."""
    return f"{scheme}:{digest.hex()}"


def locator(scheme: str, token: str) -> str | None:
    """What the id of a token is derived from; None when the scheme needs a separator that the token lacks."""
    split = parts(token)
    if split is None and (scheme.endswith(_SECRET) or scheme == "bcrypt"):
        return None
    if scheme.startswith("bcrypt"):
        return None if split is None else locator_of_id(scheme, split[0])
    return material(scheme, token)


def locator_of_id(scheme: str, identity: str) -> str:
    return f"{scheme}:{identity}"


def foreign_id(place: str, pepper: Pepper, generation: int) -> KeyId | None:
    """Twelve characters as every key has, eight of them derived and four of the mark; None when the generation is not held."""
    digest = pepper.digest(f"foreign-id:{place}", generation)
    if digest is None:
        return None
    stem = base62(int.from_bytes(digest[:16], "big") % len(ALPHABET) ** STEM_CHARS, STEM_CHARS)
    marked = mark(stem, pepper, generation)
    return None if marked is None else KeyId(stem + marked)


def ids_of(places: Iterable[str], pepper: Pepper) -> Iterator[KeyId]:
    """Under every generation that is held."""
    for place in places:
        for generation in pepper.generations:
            found = foreign_id(place, pepper, generation)
            if found is not None:
                yield found


def read_hash(algorithm: str, text: str) -> bytes | str:
    """A SHA hash in hexadecimal or base64 as bytes, a bcrypt hash as ASCII bytes; or one sentence that says what is wrong."""
    if algorithm == "bcrypt":
        match = _BCRYPT.fullmatch(text)
        if match is None:
            return "is no bcrypt hash, such as $2b$12$ and 53 characters"
        if not 4 <= int(match[1]) <= BCRYPT_COST_MAX:
            return f"has a bcrypt cost of {int(match[1])}; 4 to {BCRYPT_COST_MAX} can be imported"
        return text.encode()
    size = _BYTES[algorithm]
    try:
        if re.fullmatch(rf"[0-9A-Fa-f]{{{2 * size}}}", text):
            return bytes.fromhex(text)
        found = base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    return found if len(found) == size else f"is no {algorithm} in hexadecimal ({2 * size} characters) or base64"


def is_id(text: str) -> bool:
    """What can stand before the separator of a token."""
    return _ID.fullmatch(text) is not None


def bcrypt_matches(scheme: str, token: str, hashed: bytes) -> bool:
    """Takes a quarter of a second on purpose: never call it in an event loop."""
    split = parts(token)
    secret = token if not scheme.endswith(_SECRET) or split is None else split[1]
    try:
        return bcrypt.checkpw(secret.encode()[:_BCRYPT_BYTES], hashed)
    except ValueError:
        return False
