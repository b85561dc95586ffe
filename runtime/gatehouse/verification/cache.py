"""Caches key records in the memory of one worker, and rejects key ids that cannot have been issued. No I/O.

Three rules ensure that a revoked key stays revoked. A record is replaced only by a higher version of its row. A revoked record is
replaced only by another revoked record or by the record of a purged key, which nothing replaces. A change that arrives while a
load of the same key is in progress is stored until the load ends, because the load may have read the row before the change.

A limited number of unknown ids is cached too, each until a row with the id is announced.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from gatehouse.crypto.token import Pepper, is_marked
from gatehouse.keys.models import KeyId, KeyRecord, KeyState

#: Maximum number of cached unknown ids. This separate bound prevents guessed ids from evicting records of real keys.
ABSENT_MAX = 20_000

#: Final states, by precedence.
_FINAL = {KeyState.REVOKED: 1, KeyState.PURGED: 2}


class KeyCache:
    """LRU cache of at most `records_max` records. For one event loop, not thread-safe."""

    def __init__(self, records_max: int, absent_max: int = ABSENT_MAX) -> None:
        self._records: OrderedDict[KeyId, KeyRecord] = OrderedDict()
        self._absent: OrderedDict[KeyId, None] = OrderedDict()
        self._loading: dict[KeyId, KeyRecord | None] = {}
        self._records_max = records_max
        self._absent_max = absent_max

    def __len__(self) -> int:
        return len(self._records)

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None if it is not cached. See `absent` for ids that are known not to exist."""
        record = self._records.get(key_id)
        if record is not None:
            self._records.move_to_end(key_id)
        return record

    def absent(self, key_id: KeyId) -> bool:
        """True if the database had no key with this id and none has been announced since."""
        return key_id in self._absent

    def begin_load(self, key_ids: Iterable[KeyId]) -> None:
        """Call before the database query, so that changes announced from now on are not overwritten by its result."""
        for key_id in key_ids:
            self._loading.setdefault(key_id, None)

    def end_load(self, key_id: KeyId, record: KeyRecord | None) -> KeyRecord | None:
        """Stores the result of the query (None: no such key). Returns the newest record, which may be newer than the result."""
        announced = self._loading.pop(key_id, None)
        newest = _newer(_newer(self._records.get(key_id), announced), record)
        if newest is None:
            self._add_absent(key_id)
            return None
        self._store(newest)
        return newest

    def abandon_load(self, key_ids: Iterable[KeyId]) -> None:
        """Call when the database query failed."""
        for key_id in key_ids:
            self._loading.pop(key_id, None)

    def change(self, record: KeyRecord) -> None:
        """Applies an announced change, unless the key is neither cached nor being loaded: the next use reads such a key."""
        self._absent.pop(record.id, None)
        if record.id in self._loading:
            self._loading[record.id] = _newer(self._loading[record.id], record)
        current = self._records.get(record.id)
        if current is not None:
            self._store(_newer(current, record) or record)

    def clear(self) -> None:
        """Removes everything, after the database was restored to an earlier time. Loads in progress are stored as they arrive."""
        self._records.clear()
        self._absent.clear()

    def _store(self, record: KeyRecord) -> None:
        self._absent.pop(record.id, None)
        self._records[record.id] = record
        self._records.move_to_end(record.id)
        if len(self._records) > self._records_max:
            self._records.popitem(last=False)

    def _add_absent(self, key_id: KeyId) -> None:
        self._absent[key_id] = None
        if len(self._absent) > self._absent_max:
            self._absent.popitem(last=False)


def _newer(current: KeyRecord | None, candidate: KeyRecord | None) -> KeyRecord | None:
    if current is None or candidate is None:
        return current or candidate
    current_rank, candidate_rank = _FINAL.get(current.state, 0), _FINAL.get(candidate.state, 0)
    if current_rank != candidate_rank:
        return current if current_rank > candidate_rank else candidate
    return candidate if candidate.version > current.version else current


@dataclass(slots=True)
class Prefilter:
    """Rejects ids that cannot have been issued, so that guesses cost no database query.

    Ids of new keys carry a keyed mark (crypto/token.py). Ids without a mark, and marks of a pepper generation that is no longer
    available, cannot be checked; while such a key exists, every id is looked up. `add` is called for every id generation in the
    database.
    """

    pepper: Pepper
    strict: bool = True

    def add(self, id_generation: int) -> None:
        """Registers that a key with an id of this generation exists. An unknown generation disables the filter."""
        if id_generation not in self.pepper.generations:
            self.strict = False

    def plausible(self, key_id: KeyId) -> bool:
        """False if no key can have this id."""
        return not self.strict or is_marked(key_id, self.pepper)
