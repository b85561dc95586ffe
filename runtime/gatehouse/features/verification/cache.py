"""Caches key records in the memory of one worker, and rejects key IDs that cannot have been issued.
Performs no I/O.

Three rules ensure that a revoked key stays revoked. A record is replaced only by a higher version
of its row, or by the record of a revoked or purged key. The record of a revoked key is replaced
only by a higher version that is also revoked, or by the record of a purged key, which no record in
another state replaces. A change that arrives while a load of the same key is in progress is stored
until the load ends, because the load may have read the row before the change. A load during which
the cache was cleared is repeated for the same reason. A key whose revocation was announced while
the database was not available is revoked, whatever the database contains, until its row is.

A limited number of unknown IDs is cached too, each until a row with the ID is announced.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.core.tokens.token import Pepper, is_marked

#: Maximum number of cached unknown IDs. This separate bound prevents guessed IDs from evicting
#: records of real keys.
ABSENT_MAX = 20_000

#: Final states, by precedence.
_FINAL = {KeyState.REVOKED: 1, KeyState.PURGED: 2}


class KeyCache:
    """LRU cache of at most `records_max` records. Not thread-safe; use in a single event loop."""

    def __init__(self, records_max: int, absent_max: int = ABSENT_MAX) -> None:
        self._records: OrderedDict[KeyId, KeyRecord] = OrderedDict()
        self._absent: OrderedDict[KeyId, None] = OrderedDict()
        self._loading: dict[KeyId, KeyRecord | None] = {}
        #: Keys whose revocation was announced and is not yet in the database.
        self._revoked: set[KeyId] = set()
        self._records_max = records_max
        self._absent_max = absent_max

    def __len__(self) -> int:
        return len(self._records)

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None if the record is not cached. See `absent` for IDs that are known not
        to exist.
        """
        record = self._records.get(key_id)
        if record is not None:
            self._records.move_to_end(key_id)
        return record

    def absent(self, key_id: KeyId) -> bool:
        """True if the database had no key with this ID and no such key has been announced since
        then.
        """
        return key_id in self._absent

    def begin_load(self, key_ids: Iterable[KeyId]) -> None:
        """Begins a load. Call this method before the database query, so that the result does not
        overwrite changes that are announced in the meantime."""
        for key_id in key_ids:
            self._loading.setdefault(key_id, None)

    def is_loading(self, key_ids: Iterable[KeyId]) -> bool:
        """False if the cache was cleared after `begin_load`. The query must be repeated, because
        it may have read the rows before the changes for which the cache was cleared.
        """
        return all(key_id in self._loading for key_id in key_ids)

    def end_load(self, key_id: KeyId, record: KeyRecord | None) -> KeyRecord | None:
        """Stores the result of the query (None: no such key). Returns the newest record, which may
        be newer than the result.
        """
        announced = self._loading.pop(key_id, None)
        newest = _newer(_newer(self._records.get(key_id), announced), record)
        if newest is None:
            self._absent[key_id] = None
            if len(self._absent) > self._absent_max:
                self._absent.popitem(last=False)
            return None
        self._store(newest)
        return self._records[newest.id]

    def abandon_load(self, key_ids: Iterable[KeyId]) -> None:
        """Ends a load without a result. Call this method if the database query failed."""
        for key_id in key_ids:
            self._loading.pop(key_id, None)

    def announce(self, key_id: KeyId, version: int) -> bool:
        """Announces a version of a row. Returns True if the row must be read and passed to
        `change`. Any other key is read from the database on the next use."""
        self._absent.pop(key_id, None)
        current = self._records.get(key_id)
        is_cached = key_id in self._loading or key_id in self._revoked
        return is_cached or (current is not None and current.version < version)

    def change(self, record: KeyRecord) -> None:
        """Applies a changed row if the key is cached or being loaded."""
        if record.state in _FINAL:
            self._revoked.discard(record.id)
        if record.id in self._loading:
            self._loading[record.id] = _newer(self._loading[record.id], record)
        current = self._records.get(record.id)
        if current is not None:
            self._store(_newer(current, record) or record)

    def revoke(self, key_id: KeyId) -> None:
        """Revokes a key whose row is not revoked yet."""
        self._revoked.add(key_id)
        record = self._records.get(key_id)
        if record is not None:
            self._store(record)

    @property
    def revoked(self) -> list[KeyId]:
        """Keys that are revoked, but not in the database as far as this cache knows."""
        return list(self._revoked)

    def clear(self) -> None:
        """Removes all entries but announced revocations. Loads in progress are repeated
        (`is_loading`).
        """
        self._records.clear()
        self._absent.clear()
        self._loading.clear()

    def clear_absent(self) -> None:
        """Removes the unknown IDs, because keys can be created that are not announced."""
        self._absent.clear()

    def _store(self, record: KeyRecord) -> None:
        if record.id in self._revoked and record.state not in _FINAL:
            record = replace(record, state=KeyState.REVOKED)
        self._absent.pop(record.id, None)
        self._records[record.id] = record
        self._records.move_to_end(record.id)
        if len(self._records) > self._records_max:
            self._records.popitem(last=False)


def _newer(current: KeyRecord | None, candidate: KeyRecord | None) -> KeyRecord | None:
    if current is None or candidate is None:
        return current or candidate
    current_rank, candidate_rank = _FINAL.get(current.state, 0), _FINAL.get(candidate.state, 0)
    if current_rank != candidate_rank:
        return current if current_rank > candidate_rank else candidate
    return candidate if candidate.version > current.version else current


@dataclass(slots=True)
class Prefilter:
    """Rejects IDs that cannot have been issued, so that guessed IDs cause no database queries.

    IDs of new keys contain a keyed mark (core/tokens/token.py). IDs without a mark, and IDs with a
    mark under a pepper generation that is no longer available, cannot be checked. While a key with
    such an ID exists, every ID is looked up. `add` is called for every ID generation of a key.
    """

    pepper: Pepper
    strict: bool = True

    def add(self, id_generation: int) -> None:
        """Records that a key with an ID of this generation exists. An unknown generation disables
        the filter.
        """
        if id_generation not in self.pepper.generations:
            self.strict = False

    def plausible(self, key_id: KeyId) -> bool:
        """False if no key can have this ID."""
        return not self.strict or is_marked(key_id, self.pepper)
