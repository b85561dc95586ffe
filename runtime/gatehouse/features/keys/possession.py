"""Finds the key to which a presented token belongs, also for imported tokens.

The gateways, the sign-in at the console and self-revocation use this module.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gatehouse.core.imported_tokens import ImportedKeyIds
from gatehouse.core.keys import OWN_SCHEME, Key, KeyId, KeyRecord
from gatehouse.core.token import Pepper, parse, proves_possession
from gatehouse.features.keys.repository import KeyRepository

AnyKey = TypeVar("AnyKey", bound=KeyRecord)


@dataclass(frozen=True, slots=True)
class KeyFinder(Generic[AnyKey]):
    """Finds keys by tokens.

    find_named, find: read a key by the ID in a token, and by any other ID.
    imported_ids: IDs of imported keys, which follow from tokens in other formats.
    """

    pepper: Pepper
    prefix: str
    find_named: Callable[[KeyId], Awaitable[AnyKey | None]]
    find: Callable[[KeyId], Awaitable[AnyKey | None]]
    imported_ids: Callable[[], Awaitable[ImportedKeyIds]]

    async def named(self, token: str) -> tuple[AnyKey | None, str] | None:
        """The key that the token names, which does not prove possession, and the input of the HMAC
        if the token is correct. None if no key can have such a token. Raises Unavailable.
        """
        parsed = parse(token, self.prefix)
        if parsed is not None:
            return await self.find_named(parsed.id), parsed.text
        material, ids = (await self.imported_ids()).candidates(token)
        if not ids:
            return None
        for record in await asyncio.gather(*map(self.find, ids)):
            if record is not None and record.scheme != OWN_SCHEME:
                return record, material
        return None, material

    async def proven(self, token: str) -> AnyKey | None:
        """The key to which the token belongs, in any state, or None. Raises Unavailable.

        An HMAC is computed even if the key does not exist, so the response time does not reveal
        which key IDs exist.
        """
        record, material = await self.named(token) or (None, "")
        return record if proves_possession(self.pepper, material, record) else None


def finder_of(store: KeyRepository, pepper: Pepper, prefix: str) -> KeyFinder[Key]:
    async def imported_ids() -> ImportedKeyIds:
        ids = ImportedKeyIds(pepper)
        for scheme, generation in await store.schemes():
            ids.add(scheme, generation)
        return ids

    return KeyFinder(pepper, prefix, store.get, store.get, imported_ids)
