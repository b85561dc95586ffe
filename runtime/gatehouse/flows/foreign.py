"""Finds an imported key by a token of somebody else's format, and takes an old bcrypt hash to an HMAC at the first use.

The cost of a wrong token is bounded: it is looked up by derived ids alone, all in one query, and bcrypt is computed for an id
that exists, CHECKS_AT_ONCE at a time in a worker and GUESSES_MAX times a minute for a key. A key whose guesses are used up is
UNAVAILABLE, not refused: its holder may be the one who is kept out, and the next minute lets them in.
"""

from __future__ import annotations

import asyncio

import msgspec

from gatehouse.core.apikey import Pepper
from gatehouse.core.envelope import unseal
from gatehouse.core.foreign import UNPROVEN, Foreign, bcrypt_matches
from gatehouse.errors import Unavailable
from gatehouse.flows.actor import Actor
from gatehouse.store.ports import Clock, Keys
from gatehouse.store.ports_foreign import ForeignHashes
from gatehouse.types import KeyId, KeyRecord, RequestId

ACTION = "key.upgrade"
CHECKS_AT_ONCE = 1
#: Who waits for their turn beyond this many is told to come back.
WAITING_MAX = 16
GUESSES_MAX = 5
GUESSES_WINDOW_S = 60.0
#: Keys whose guesses are remembered; the oldest goes first.
_REMEMBERED_MAX = 10_000


class Found(msgspec.Struct, frozen=True):
    """`material`: what the record's digest is an HMAC of, if the token is the right one."""

    record: KeyRecord | None
    material: str


def purpose(key_id: KeyId) -> str:
    """What an old hash is sealed for."""
    return f"foreign-hash:{key_id}"


class ForeignTokens:
    """For one worker and one event loop."""

    def __init__(self, keys: Keys, hashes: ForeignHashes, clock: Clock, pepper: Pepper, known: Foreign) -> None:
        self._keys = keys
        self._hashes = hashes
        self._clock = clock
        self._pepper = pepper
        self._known = known
        self._turn = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._waiting = 0
        self._guesses: dict[KeyId, tuple[float, int]] = {}

    async def find(self, token: str) -> Found | None:
        """The imported key that the token may belong to; None when no imported key can look like this. Raises Unavailable."""
        candidates = self._known.candidates(token)
        if not candidates:
            return None
        records = await asyncio.gather(*(self._keys.find(one.id) for one in candidates))
        for one, record in zip(candidates, records, strict=True):
            if record is not None and record.scheme == one.scheme:
                return Found(record, one.material)
        return Found(None, candidates[0].material)

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
