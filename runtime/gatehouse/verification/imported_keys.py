"""Keys that others made: how one is found and verified without knowing what it looks like; it looks nothing up.

A presented token that is not of our own format has at most a handful of ids under which it could be stored, each derived under
the pepper from its hash (or, for bcrypt, from the id inside it). So it is found by its id like every key, in one look-up, and
nothing is ever tried one after the other. What is stored is an HMAC of the old hash: a copy of the table verifies nothing, not
even a guess at a short token. A bcrypt hash cannot be computed again, so it waits, encrypted, for the first use.

    sha256, sha512                  of the whole token
    sha256-secret, sha512-secret    of what stands behind its last separator
    bcrypt, bcrypt-secret           the same; the id is what stands before the last separator

The separator is the last `.`; without one, the last `:`; without either, the last `_`.

Finds an imported key by a token of somebody else's format, and takes an old bcrypt hash to an HMAC at the first use.

The cost of a wrong token is bounded: it is looked up by derived ids alone, all in one query, and bcrypt is computed for an id
that exists, CHECKS_AT_ONCE at a time in a worker and GUESSES_MAX times a minute for a key. A key whose guesses are used up is
UNAVAILABLE, not refused: its holder may be the one who is kept out, and the next minute lets them in.

Old bcrypt hashes in PostgreSQL, and their replacement at the first use, from the gateway's side.

The port of old bcrypt hashes, which wait for the first use of their key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

import asyncpg
import bcrypt
import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.writer import append_event
from gatehouse.clock import Clock
from gatehouse.crypto.sealing import unseal
from gatehouse.crypto.token import ALPHABET, STEM_CHARS, Pepper, base62, mark
from gatehouse.errors import Unavailable
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor
from gatehouse.keys.models import OWN_SCHEME, KeyId, KeyRecord
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.models import Keys
from gatehouse.verification.repository import COLUMNS, Pool, key_record

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


class ImportedKeyIds:
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


ACTION = "key.upgrade"


CHECKS_AT_ONCE = 1


#: Who waits for their turn beyond this many is told to come back.
WAITING_MAX = 16


GUESSES_MAX = 5


GUESSES_WINDOW_S = 60.0


#: Keys whose guesses are remembered; the oldest goes first.
_REMEMBERED_MAX = 10_000


class ImportedKey(msgspec.Struct, frozen=True):
    """`material`: what the record's digest is an HMAC of, if the token is the right one."""

    record: KeyRecord | None
    material: str


def purpose(key_id: KeyId) -> str:
    """What an old hash is sealed for."""
    return f"foreign-hash:{key_id}"


class ImportedKeys:
    """For one worker and one event loop."""

    def __init__(self, keys: Keys, hashes: LegacyHashes, clock: Clock, pepper: Pepper, known: ImportedKeyIds) -> None:
        self._keys = keys
        self._hashes = hashes
        self._clock = clock
        self._pepper = pepper
        self._known = known
        self._turn = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._waiting = 0
        self._guesses: dict[KeyId, tuple[float, int]] = {}

    async def find(self, token: str) -> ImportedKey | None:
        """The imported key that the token may belong to; None when no imported key can look like this. Raises Unavailable."""
        candidates = self._known.candidates(token)
        if not candidates:
            return None
        records = await asyncio.gather(*(self._keys.find(one.id) for one in candidates))
        for one, record in zip(candidates, records, strict=True):
            if record is not None and record.scheme == one.scheme:
                return ImportedKey(record, one.material)
        return ImportedKey(None, candidates[0].material)

    async def prove(self, record: KeyRecord, token: str, material: str) -> KeyRecord | None:
        """The key after its first use, None when the token is wrong. Raises Unavailable, also when too much is being guessed."""
        if record.digest != UNPROVEN or not record.scheme.startswith("bcrypt"):
            return None
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Keys cannot be checked at the moment", detail="too many first uses of imported keys at once")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._prove(record.id, token, material)
        finally:
            self._waiting -= 1

    async def _prove(self, key_id: KeyId, token: str, material: str) -> KeyRecord | None:
        now = await self._keys.find(key_id)
        if now is None or now.digest != UNPROVEN:
            # Somebody was faster while we waited: an HMAC says it now.
            return now if now is not None and self._pepper.matches(material, now.digest, now.pepper_generation) else None
        self._count(key_id)
        held = await self._hashes.read(key_id)
        plain = None if held is None else unseal(held[1], purpose(key_id), self._pepper, held[0])
        if plain is None or not await asyncio.to_thread(bcrypt_matches, now.scheme, token, plain):
            return None
        self._guesses.pop(key_id, None)
        # The generation of the record: every gateway that reads the record holds it, and `rewrap` does the rest.
        digest = self._pepper.digest(material, now.pepper_generation)
        if digest is None:
            return None
        actor = Actor(type="system", id="gateway", request_id=RequestId(""), source_address="")
        event = actor.did(
            ACTION, target_type="key", target_id=key_id, at=self._clock.now(), details={"from": now.scheme, "to": "hmac"}
        )
        return await self._hashes.upgrade(key_id, digest, now.pepper_generation, event)

    def _count(self, key_id: KeyId) -> None:
        now = self._clock.now()
        since, count = self._guesses.pop(key_id, (now, 0))
        if now - since >= GUESSES_WINDOW_S:
            since, count = now, 0
        self._guesses[key_id] = (since, count + 1)
        if len(self._guesses) > _REMEMBERED_MAX:
            self._guesses.pop(next(iter(self._guesses)))
        if count >= GUESSES_MAX:
            raise Unavailable("Keys cannot be checked at the moment", detail="too many guesses at an imported key")


#: Failure side: closed. The key is not verified this time.
TIMEOUT_S = 5.0


_READ = "SELECT generation, sealed FROM foreign_hash WHERE key_id = $1"


_UPGRADE = (
    "UPDATE api_key SET digest = $2, pepper_generation = $3"  # noqa: S608
    f" WHERE id = $1 AND digest = $4 AND state <> 'purged' RETURNING {COLUMNS}"
)


class PostgresLegacyHashes:
    """`ports_foreign.ForeignHashes`; the worker that did an upgrade knows of it at once."""

    def __init__(self, pool: Pool, cache: KeyCache) -> None:
        self._pool = pool
        self._cache = cache

    async def read(self, key_id: KeyId) -> tuple[int, bytes] | None:
        try:
            row = await self._pool.fetchrow(_READ, key_id, timeout=TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        return None if row is None else (row["generation"], row["sealed"])

    async def upgrade(self, key_id: KeyId, digest: bytes, generation: int, event: AuditEvent) -> KeyRecord | None:
        try:
            async with self._pool.acquire(timeout=TIMEOUT_S) as connection, connection.transaction():
                row = await connection.fetchrow(_UPGRADE, key_id, digest, generation, UNPROVEN)
                if row is not None:
                    await connection.execute("DELETE FROM foreign_hash WHERE key_id = $1", key_id)
                    await append_event(connection, event)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            raise _away(exc) from exc
        if row is None:
            return None
        record = key_record(row)
        self._cache.change(record)
        return record


def _away(exc: Exception) -> Unavailable:
    return Unavailable("Keys cannot be checked at the moment", detail=f"foreign hash: {type(exc).__name__}")


class LegacyHashes(Protocol):
    async def read(self, key_id: KeyId) -> tuple[int, bytes] | None:
        """(pepper generation, sealed hash), None when there is none (any more). Raises Unavailable."""
        ...

    async def upgrade(self, key_id: KeyId, digest: bytes, generation: int, event: AuditEvent) -> KeyRecord | None:
        """Replaces the hash by an HMAC, with the event; the key as it then is, None when it has gone. Raises Unavailable."""
        ...
