"""Key records in the memory of one worker: what may replace what, and what is thrown out first; no I/O.

Three rules keep a dead key dead. A record is replaced by a higher version of its row only. A revoked record is replaced by
nothing but another revoked one, or by that of a purged key, which nothing replaces. And a change that is announced while a fill
of the same key is under way is kept beside that fill, so that the fill, which may have read the row before the change, cannot
bring the old state back when it lands late.

Absence is remembered too (bounded, by id), and forgotten as soon as a row with the id is announced."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gatehouse.keys.models import KeyId, KeyRecord, KeyState

#: Ids without a key that are remembered: random well-formed keys cost an attacker's own entries, never those of real keys.
ABSENT_MAX = 20_000


#: States without a way back, and which of them goes over the other.
_TERMINAL = {KeyState.REVOKED: 1, KeyState.PURGED: 2}


class KeyCache:
    """At most `records_max` records, least recently used out first. For one event loop, not for threads."""

    def __init__(self, records_max: int, absent_max: int = ABSENT_MAX) -> None:
        self._records: OrderedDict[KeyId, KeyRecord] = OrderedDict()
        self._absent: OrderedDict[KeyId, None] = OrderedDict()
        self._filling: dict[KeyId, KeyRecord | None] = {}
        self._records_max = records_max
        self._absent_max = absent_max

    def __len__(self) -> int:
        return len(self._records)

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record, or None when it is not here (which does not mean that there is none: see `absent`)."""
        record = self._records.get(key_id)
        if record is not None:
            self._records.move_to_end(key_id)
        return record

    def absent(self, key_id: KeyId) -> bool:
        """True when the database said that no key has this id and none has been announced since."""
        return key_id in self._absent

    def begin_fill(self, key_ids: Iterable[KeyId]) -> None:
        """Call before the database is asked, so that changes announced from now on are not lost to the answer."""
        for key_id in key_ids:
            self._filling.setdefault(key_id, None)

    def end_fill(self, key_id: KeyId, record: KeyRecord | None) -> KeyRecord | None:
        """What the database answered (None: no such key). Returns what holds now, which may be newer than the answer."""
        announced = self._filling.pop(key_id, None)
        newest = _newer(_newer(self._records.get(key_id), announced), record)
        if newest is None:
            self._remember_absent(key_id)
            return None
        self._keep(newest)
        return newest

    def abandon_fill(self, key_ids: Iterable[KeyId]) -> None:
        """The database could not be asked."""
        for key_id in key_ids:
            self._filling.pop(key_id, None)

    def change(self, record: KeyRecord) -> None:
        """A committed row that was announced. Kept when the key is known or being asked for; otherwise the next use reads it."""
        self._absent.pop(record.id, None)
        if record.id in self._filling:
            self._filling[record.id] = _newer(self._filling[record.id], record)
        held = self._records.get(record.id)
        if held is not None:
            self._keep(_newer(held, record) or record)

    def clear(self) -> None:
        """Forgets everything, for a database that went back in time. Fills under way land as if nothing had been announced."""
        self._records.clear()
        self._absent.clear()

    def _keep(self, record: KeyRecord) -> None:
        self._absent.pop(record.id, None)
        self._records[record.id] = record
        self._records.move_to_end(record.id)
        if len(self._records) > self._records_max:
            self._records.popitem(last=False)

    def _remember_absent(self, key_id: KeyId) -> None:
        self._absent[key_id] = None
        if len(self._absent) > self._absent_max:
            self._absent.popitem(last=False)


def _newer(held: KeyRecord | None, offered: KeyRecord | None) -> KeyRecord | None:
    if held is None or offered is None:
        return held or offered
    before, after = _TERMINAL.get(held.state, 0), _TERMINAL.get(offered.state, 0)
    if before != after:
        return held if before > after else offered
    return offered if offered.version > held.version else held
