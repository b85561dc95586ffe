"""Caches records of keys, customers and plans in the memory of one worker, and rejects key IDs that
cannot have been issued. Performs no I/O.

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
from typing import Generic, Protocol, TypeVar

from msgspec.structs import replace

from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.core.tokens.token import Pepper, is_marked

#: Maximum number of cached unknown IDs. This separate bound prevents guessed IDs from evicting
#: records of real keys.
ABSENT_MAX = 20_000

#: Final states, by precedence.
_FINAL = {KeyState.REVOKED: 1, KeyState.PURGED: 2}


class Record(Protocol):
    """A row with an ID and a version, which every change increments."""

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> int: ...


R = TypeVar("R", bound=Record)


class RecordCache(Generic[R]):
    """LRU cache of at most `records_max` rows of a table, by ID. Not thread-safe; use in a single
    event loop.
    """

    def __init__(self, records_max: int, absent_max: int = ABSENT_MAX) -> None:
        self._records: OrderedDict[str, R] = OrderedDict()
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._loading: dict[str, R | None] = {}
        self._records_max = records_max
        self._absent_max = absent_max

    def __len__(self) -> int:
        return len(self._records)

    def find(self, id: str) -> R | None:
        """The record, or None if the record is not cached. See `absent` for IDs that are known not
        to exist.
        """
        record = self._records.get(id)
        if record is not None:
            self._records.move_to_end(id)
        return record

    def absent(self, id: str) -> bool:
        """True if the database had no row with this ID and no such row has been announced since
        then.
        """
        return id in self._absent

    def begin_load(self, ids: Iterable[str]) -> None:
        """Begins a load. Call this method before the database query, so that the result does not
        overwrite changes that are announced in the meantime."""
        for id in ids:
            self._loading.setdefault(id, None)

    def is_loading(self, ids: Iterable[str]) -> bool:
        """False if the cache was cleared after `begin_load`. The query must be repeated, because
        it may have read the rows before the changes for which the cache was cleared.
        """
        return all(id in self._loading for id in ids)

    def end_load(self, id: str, record: R | None) -> R | None:
        """Stores the result of the query (None: no such row). Returns the newest record, which may
        be newer than the result.
        """
        announced = self._loading.pop(id, None)
        newest = self._newer(self._newer(self._records.get(id), announced), record)
        if newest is None:
            self._absent[id] = None
            if len(self._absent) > self._absent_max:
                self._absent.popitem(last=False)
            return None
        self._store(newest)
        return self._records[id]

    def abandon_load(self, ids: Iterable[str]) -> None:
        """Ends a load without a result. Call this method if the database query failed."""
        for id in ids:
            self._loading.pop(id, None)

    def announce(self, id: str, version: int) -> bool:
        """Announces a version of a row. Returns True if the row must be read and passed to
        `change`. Any other row is read from the database on the next use."""
        self._absent.pop(id, None)
        current = self._records.get(id)
        return id in self._loading or (current is not None and current.version < version)

    def change(self, record: R) -> None:
        """Applies a changed row if it is cached or being loaded."""
        id = record.id
        if id in self._loading:
            self._loading[id] = self._newer(self._loading[id], record)
        current = self._records.get(id)
        if current is not None:
            self._store(self._newer(current, record) or record)

    def replace(self, current: R, record: R) -> None:
        """Replaces a record by the same version of the row, unless it has changed."""
        if self._records.get(record.id) is current:
            self._records[record.id] = record

    def clear(self) -> None:
        """Removes all entries. Loads in progress are repeated (`is_loading`)."""
        self._records.clear()
        self._absent.clear()
        self._loading.clear()

    def clear_absent(self) -> None:
        """Removes the unknown IDs, because rows can be created that are not announced."""
        self._absent.clear()

    def _newer(self, current: R | None, candidate: R | None) -> R | None:
        if current is None or candidate is None:
            return current or candidate
        return candidate if candidate.version > current.version else current

    def _store(self, record: R) -> None:
        self._absent.pop(record.id, None)
        self._records[record.id] = record
        self._records.move_to_end(record.id)
        if len(self._records) > self._records_max:
            self._records.popitem(last=False)


class KeyCache(RecordCache[KeyRecord]):
    """The cached keys, of which a revoked one stays revoked."""

    def __init__(self, records_max: int, absent_max: int = ABSENT_MAX) -> None:
        super().__init__(records_max, absent_max)
        #: Keys whose revocation was announced and is not yet in the database.
        self._revoked: set[str] = set()

    def announce(self, id: str, version: int) -> bool:
        return super().announce(id, version) or id in self._revoked

    def change(self, record: KeyRecord) -> None:
        if record.state in _FINAL:
            self._revoked.discard(record.id)
        super().change(record)

    def revoke(self, key_id: KeyId) -> None:
        """Revokes a key whose row is not revoked yet."""
        self._revoked.add(key_id)
        record = self._records.get(key_id)
        if record is not None:
            self._store(record)

    @property
    def revoked(self) -> list[KeyId]:
        """Keys that are revoked, but not in the database as far as this cache knows."""
        return [KeyId(key_id) for key_id in self._revoked]

    def _newer(self, current: KeyRecord | None, candidate: KeyRecord | None) -> KeyRecord | None:
        if current is not None and candidate is not None:
            ranks = _FINAL.get(current.state, 0), _FINAL.get(candidate.state, 0)
            if ranks[0] != ranks[1]:
                return current if ranks[0] > ranks[1] else candidate
        return super()._newer(current, candidate)

    def _store(self, record: KeyRecord) -> None:
        if record.id in self._revoked and record.state not in _FINAL:
            record = replace(record, state=KeyState.REVOKED)
        super()._store(record)


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
