"""Finds the key to which a presented token belongs, also for imported tokens.

The gateways, the sign-in at the console and self-revocation use this module.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gatehouse.core.keys import OWN_SCHEME, Key, KeyId, KeyRecord
from gatehouse.core.tokens.imported_tokens import ImportedKeyIds
from gatehouse.core.tokens.token import Pepper, parse, proves_possession
from gatehouse.features.keys.repository import KeyRepository

AnyKey = TypeVar("AnyKey", bound=KeyRecord)


@dataclass(frozen=True, slots=True)
class KeyFinder(Generic[AnyKey]):
    """Finds keys by tokens.

    find: reads a key by its ID.
    imported_ids: IDs of imported keys, which follow from tokens in other formats.
    cached: returns a key from the cache of a gateway worker.
    plausible: returns False for an ID in a token that was never issued (verification/cache.py).
    """

    pepper: Pepper
    prefix: str
    find: Callable[[KeyId], Awaitable[AnyKey | None]]
    imported_ids: Callable[[], Awaitable[ImportedKeyIds]]
    cached: Callable[[KeyId], AnyKey | None] = lambda _: None
    plausible: Callable[[KeyId], bool] = lambda _: True

    async def named(self, token: str) -> tuple[AnyKey | None, str] | None:
        """The key that the token names, which does not prove possession, and the input of the HMAC
        if the token is correct. None if no key can have such a token. Raises Unavailable.
        """
        parsed = parse(token, self.prefix)
        if parsed is not None:
            record = self.cached(parsed.id)
            if record is None and self.plausible(parsed.id):
                record = await self.find(parsed.id)
            return record, parsed.text
        material, ids = (await self.imported_ids()).candidates(token)
        if not ids:
            return None
        imported = _imported(map(self.cached, ids))
        return imported or _imported(await asyncio.gather(*map(self.find, ids))), material

    async def proven(self, token: str) -> AnyKey | None:
        """The key to which the token belongs, in any state, or None. Raises Unavailable.

        An HMAC is computed even if the key does not exist, so the response time does not reveal
        which key IDs exist.
        """
        record, material = await self.named(token) or (None, "")
        return record if proves_possession(self.pepper, material, record) else None


def _imported(records: Iterable[AnyKey | None]) -> AnyKey | None:
    return next((each for each in records if each and each.scheme != OWN_SCHEME), None)


def finder_of(store: KeyRepository, pepper: Pepper, prefix: str) -> KeyFinder[Key]:
    async def imported_ids() -> ImportedKeyIds:
        ids = ImportedKeyIds(pepper)
        for scheme, generation in await store.schemes():
            ids.add(scheme, generation)
        return ids

    return KeyFinder(pepper, prefix, store.get, imported_ids)
