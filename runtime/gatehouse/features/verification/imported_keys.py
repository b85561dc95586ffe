"""Finds imported keys by tokens in other formats. A token is looked up only by derived IDs, in one query."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from gatehouse.core.imported_tokens import ImportedKeyIds
from gatehouse.core.keys import KeyRecord
from gatehouse.features.verification.repository import KeyLoader


class ImportedKey(msgspec.Struct, frozen=True):
    """Result of a lookup. `material`: input of the HMAC if the token is correct."""

    record: KeyRecord | None
    material: str


@dataclass(frozen=True, slots=True)
class ImportedKeys:
    """The imported keys in one worker."""

    keys: KeyLoader
    ids: ImportedKeyIds

    async def find(self, token: str) -> ImportedKey | None:
        """The imported key to which the token may belong, or None if no imported key can have such a token.

        Raises Unavailable.
        """
        candidates = self.ids.candidates(token)
        if not candidates:
            return None
        records = await asyncio.gather(*(self.keys.find(candidate.id) for candidate in candidates))
        for candidate, record in zip(candidates, records, strict=True):
            if record is not None and record.scheme == candidate.scheme:
                return ImportedKey(record, candidate.material)
        return ImportedKey(None, candidates[0].material)
