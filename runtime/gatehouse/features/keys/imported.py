"""Finds an imported key by its original token, in any state, for leak reports and revocations.

The lookup is the same as in a gateway (verification/imported_keys.py), without its cache.
"""

from __future__ import annotations

from gatehouse.core.imported_tokens import ImportedKeyIds
from gatehouse.core.keys import Key
from gatehouse.core.token import Pepper, proves_possession
from gatehouse.features.keys.repository import KeyRepository


async def find_imported(store: KeyRepository, pepper: Pepper, token: str) -> Key | None:
    """The imported key to which the token belongs, or None. Raises Unavailable."""
    ids = ImportedKeyIds(pepper)
    for scheme, generation in await store.imported_schemes():
        ids.add(scheme, generation)
    candidates = {candidate.id: candidate for candidate in ids.candidates(token)}
    for key in await store.get_all(set(candidates)):
        candidate = candidates[key.id]
        if key.scheme == candidate.scheme and proves_possession(pepper, candidate.material, key):
            return key
    return None
