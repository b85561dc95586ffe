"""Finds imported keys by their original tokens, in any state, for leak reports and revocations.

The lookup is the same as in a gateway (verification/imported_keys.py), but changes nothing: a verified bcrypt hash is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from gatehouse.crypto.sealing import unseal
from gatehouse.crypto.token import NULL_DIGEST, Pepper, proves_possession
from gatehouse.keys.models import Key
from gatehouse.keys.repository import KeyRepository
from gatehouse.verification.imported_tokens import ImportedKeyIds, bcrypt_matches, hash_purpose


async def find_imported(store: KeyRepository, pepper: Pepper, tokens: Collection[str]) -> dict[str, Key]:
    """The imported key for each token that is the token of an imported key. Raises Unavailable."""
    ids = ImportedKeyIds(pepper)
    for scheme, generation in await store.imported_schemes() if tokens else ():
        ids.add(scheme, generation)
    candidates = {token: ids.candidates(token) for token in tokens}
    keys = {key.id: key for key in await store.get_all({candidate.id for found in candidates.values() for candidate in found})}
    result = {}
    for token, found in candidates.items():
        for candidate in found:
            key = keys.get(candidate.id)
            if key is None or key.scheme != candidate.scheme:
                continue
            if await _belongs(store, pepper, token, candidate.material, key):
                result[token] = key
    return result


async def _belongs(store: KeyRepository, pepper: Pepper, token: str, material: str, key: Key) -> bool:
    if key.digest != NULL_DIGEST:
        return proves_possession(pepper, material, key)
    stored = await store.imported_hash(key.id)
    hashed = None if stored is None else unseal(stored[1], hash_purpose(key.id), pepper, stored[0])
    return hashed is not None and await asyncio.to_thread(bcrypt_matches, key.scheme, token, hashed)
