"""Format of a token, and the pepper under which tokens are stored. Pure.

    gtk_test_3fGh82kLmQ0a<43 base62 characters of secret><6 of checksum>
    |   |    |
    |   |    `- key ID: 8 random base62 characters and a 4-character keyed mark
    |   `------ environment: test | live
    `---------- prefix of the deployment, may contain underscores (acme_sk)

The key ID is in plain text, for lookup and logs. The checksum is CRC-32 over everything before it,
in base62 (0-9A-Za-z), padded to six characters (62^6 > 2^32). Leak scanners can recognize a token
offline, and the gateway rejects malformed tokens without a lookup. The mark is an HMAC of the 8
random characters under a pepper generation. A guessed ID has a valid mark with probability 1 in
62^4; IDs without a valid mark are rejected without a database query (docs/decisions/0006). The
secret has 256 bits of entropy (62^43 > 2^256), so a plain HMAC is sufficient at rest and a slow
password hash is not needed.
"""

from __future__ import annotations

import base64
import hmac
import re
import zlib
from typing import TYPE_CHECKING, cast

import msgspec

from gatehouse.core.errors import SettingsError
from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord

if TYPE_CHECKING:
    from pydantic import SecretStr

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_CHARS = 12
MARK_CHARS = 4
STEM_CHARS = ID_CHARS - MARK_CHARS
SECRET_CHARS = 43
CHECKSUM_CHARS = 6
BODY_CHARS = ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS
#: Length of the body of a bootstrap token, `<prefix>_admin_<secret><checksum>`.
ADMIN_BODY_CHARS = SECRET_CHARS + CHECKSUM_CHARS

#: Digest that no token has. Used for an unknown key and a purged key.
NULL_DIGEST = bytes(32)

_BASE62 = frozenset(ALPHABET)
#: The numbers below 62 ** 2 as two base62 characters.
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_ENVIRONMENTS = {environment.value: environment for environment in KeyEnvironment}

#: Groups: prefix, environment, key ID.
_TOKEN = re.compile(
    f"(.{{1,16}})_({'|'.join(_ENVIRONMENTS)})_([0-9A-Za-z]{{{ID_CHARS}}})"
    f"[0-9A-Za-z]{{{BODY_CHARS - ID_CHARS}}}"
)


class ParsedToken(msgspec.Struct, frozen=True, gc=False):
    """A well-formed token. `text` is secret, is kept only for the duration of the request, and is
    never logged.
    """

    prefix: str
    environment: KeyEnvironment
    id: KeyId
    text: str

    def __repr__(self) -> str:
        return f"ParsedToken({self.prefix}_{self.environment}_{self.id}...)"


def base62(number: int, width: int) -> str:
    """Encodes `number` (>= 0) in base 62, left-padded with zeros to at least `width` characters."""
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits.rjust(width, "0")


def checksum(text: str) -> str:
    """CRC-32 (zlib's polynomial) of ASCII `text` as six base62 characters."""
    rest, last = divmod(zlib.crc32(text.encode("ascii")), len(_PAIRS))
    first, middle = divmod(rest, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def checksum_value(characters: str) -> int:
    """The number that `checksum` encodes as six base62 characters."""
    value = 0
    for character in characters:
        value = 62 * value + ALPHABET.index(character)
    return value


def has_checksum(text: str) -> bool:
    return checksum(text[:-CHECKSUM_CHARS]) == text[-CHECKSUM_CHARS:]


def is_base62(text: str, chars: int) -> bool:
    return len(text) == chars and _BASE62.issuperset(text)


def key_id(text: str) -> KeyId | None:
    """`text` as a key ID, or None if it does not have the format of a key ID."""
    return KeyId(text) if is_base62(text, ID_CHARS) else None


def id_start(text: str, prefix: str) -> str | None:
    """The beginning of the key ID in the beginning of a token with this deployment's `prefix`, or
    None for any other text.
    """
    head, _, start = text.rpartition("_")
    brand, _, environment = head.rpartition("_")
    is_start = (
        brand == prefix
        and environment in _ENVIRONMENTS
        and 0 < len(start) <= ID_CHARS
        and _BASE62.issuperset(start)
    )
    return start if is_start else None


def build(
    prefix: str,
    environment: KeyEnvironment,
    id_bytes: bytes,
    secret_bytes: bytes,
    *,
    pepper: Pepper,
    generation: int,
) -> ParsedToken:
    """Builds a token from random bytes: at least 6 for the ID, exactly 32 for the secret. The ID is
    marked under an available pepper generation.
    """
    stem = base62(int.from_bytes(id_bytes, "big") % 62**STEM_CHARS, STEM_CHARS)
    identity = stem + mark(stem, pepper, generation)
    secret = base62(int.from_bytes(secret_bytes, "big"), SECRET_CHARS)
    head = f"{prefix}_{environment.value}_{identity}{secret}"
    return ParsedToken(
        prefix=prefix, environment=environment, id=KeyId(identity), text=head + checksum(head)
    )


def id_generation(key_id: str, pepper: Pepper) -> int | None:
    """The available pepper generation under which the ID has a valid mark. None if there is none.
    Compares in constant time.
    """
    stem, presented = key_id[:STEM_CHARS], key_id[STEM_CHARS:]
    marks = [(each, mark(stem, pepper, each)) for each in pepper.generations]
    return next((each for each, valid in marks if hmac.compare_digest(valid, presented)), None)


def is_marked(key_id: str, pepper: Pepper) -> bool:
    """True if the ID has a valid mark under any available generation. Compares in constant time."""
    return id_generation(key_id, pepper) is not None


def mark(stem: str, pepper: Pepper, generation: int) -> str:
    """The 4-character mark for an ID, under an available pepper generation."""
    digest = pepper.hmac(f"key-id:{stem}", generation)
    return base62(int.from_bytes(digest[:16], "big") % 62**MARK_CHARS, MARK_CHARS)


def parse(text: str, prefix: str) -> ParsedToken | None:
    """Parses a token with this deployment's `prefix`. Returns None for any other text. Takes about
    a microsecond.
    """
    match = _TOKEN.fullmatch(text)
    if match is None or match[1] != prefix or not has_checksum(text):
        return None
    _, environment, identity = match.groups()  # a match is a str; calling KeyId takes longer
    return ParsedToken(prefix, _ENVIRONMENTS[environment], cast("KeyId", identity), text)


class Pepper:
    """The secret keys under which tokens are stored, by generation. A generation is kept until no
    row depends on it.
    """

    __slots__ = ("_keyed", "current", "generations")

    def __init__(self, generations: dict[int, bytes], current: int) -> None:
        """Raises ValueError if `current` is not one of the generations or a secret is shorter than
        32 bytes.
        """
        if current not in generations:
            raise ValueError("the current pepper generation is missing")
        if any(len(secret) < 32 for secret in generations.values()):
            raise ValueError("a pepper generation needs at least 32 bytes")
        self.current = current
        self.generations = tuple(sorted(generations, reverse=True))  # newest first
        #: Copying these takes less time than preparing the key for each digest.
        self._keyed = {
            number: hmac.new(secret, digestmod="sha256") for number, secret in generations.items()
        }

    def __repr__(self) -> str:
        return f"Pepper(generations={sorted(self._keyed)}, current={self.current})"

    def hmac(self, text: str, generation: int | None = None) -> bytes:
        """HMAC-SHA256 (RFC 2104) of ASCII `text`, 32 bytes, under an available generation, by
        default the current one.
        """
        keyed = self._keyed[self.current if generation is None else generation].copy()
        keyed.update(text.encode("ascii"))
        return keyed.digest()

    def digest(self, text: str, generation: int) -> bytes | None:
        """Like `hmac`, for a generation of a stored value. None if it is not available."""
        return self.hmac(text, generation) if generation in self._keyed else None

    def matches(self, text: str, digest: bytes, generation: int) -> bool:
        """True if `digest` is the digest of `text`. Compares in constant time. False if the
        generation is not available.
        """
        computed = self.digest(text, generation)
        return computed is not None and hmac.compare_digest(computed, digest)


class _PepperDocument(msgspec.Struct, forbid_unknown_fields=True):
    current: int
    generations: dict[str, str]


def read_pepper(secret: SecretStr | None, variable: str) -> Pepper:
    """Parses {"current": 2, "generations": {"1": "<base64>", "2": "<base64>"}}, the value of a
    setting.

    Raises SettingsError, which never quotes the value.
    """
    if secret is None:
        raise SettingsError(f"{variable} is required by this service")
    try:
        document = msgspec.json.decode(secret.get_secret_value(), type=_PepperDocument)
        generations = {
            int(number): base64.b64decode(value, validate=True)
            for number, value in document.generations.items()
        }
    except (msgspec.DecodeError, ValueError):
        shape = '{"current": 1, "generations": {"1": "<base64 of 32 bytes>"}}'
        raise SettingsError(f"{variable} must have the form {shape}") from None
    try:
        return Pepper(generations, document.current)
    except ValueError as exc:
        raise SettingsError(f"{variable}: {exc}") from None


def proves_possession(pepper: Pepper, material: str, key: KeyRecord | None) -> bool:
    """True if `material` (the token, or the hash of an imported token) belongs to the key.

    A digest is always computed and compared, even for an unknown key, so the response time does not
    reveal which key IDs exist.
    """
    digest, generation = (
        (NULL_DIGEST, pepper.current) if key is None else (key.digest, key.pepper_generation)
    )
    return pepper.matches(material, digest, generation) and key is not None
