"""Stores secrets and secret requests in DynamoDB. Each is one item that contains its whole state,
such as the links and their uses, and the unrecorded events.

Every change is one conditional update of one item, which is made only if nobody else has changed
the item since it was read. DynamoDB therefore resolves concurrent changes; those of one process
wait for each other. The service compares the
expiry with the current time, and therefore denies expired items before DynamoDB deletes them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.models import Secret, SharingEvent
from gatehouse.features.sharing.requests.models import SecretRequest
from gatehouse.features.sharing.table import ConditionNotMet, Item, Table, builtins

_Stored = TypeVar("_Stored", Secret, SecretRequest)

#: Prefix of the item IDs of secret requests, and of their owners in the index, so that secrets and
#: secret requests are listed separately.
_REQUEST = "request:"
#: Maximum number of attempts for a change that meets other changes of the item, and the bounds of
#: the random pauses between them, which double (AWS Architecture Blog, "Exponential Backoff And
#: Jitter").
_ATTEMPTS_MAX = 20
_PAUSE_S, _PAUSE_MAX_S = 0.02, 1.0


class Repository(Generic[_Stored]):
    """Reads and changes secrets or secret requests. Methods raise Unavailable if DynamoDB cannot be
    reached.
    """

    def __init__(self, table: Table, kind: type[_Stored]) -> None:
        self._table = table
        self._kind: type[_Stored] = kind
        self._prefix = _REQUEST if kind is SecretRequest else ""
        #: Locks of the items that this process changes.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, stored: _Stored, event: SharingEvent) -> None:
        """Raises ConditionNotMet if the ID already exists."""
        await self._table.put(self.item(stored), event)

    async def get(self, identifier: str) -> _Stored | None:
        item = await self._table.get(self._prefix + identifier)
        return None if item is None else self.read(item)

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[_Stored], str]:
        """Return the secrets or requests of an owner after a position, newest first, and the last
        position. See `Table.of_owner`.
        """
        items, position = await self._table.of_owner(self._prefix + owner, after=after, size=size)
        return [self.read(item) for item in items], position

    async def change(
        self,
        stored: _Stored,
        event: SharingEvent,
        change: Callable[[_Stored], _Stored],
        *,
        waits: bool = True,
    ) -> _Stored:
        """Store a change with its event, and return the current value.

        stored: the value as it was read.
        change: returns the changed value, or its argument if nothing needs to be changed. Called
            again with the current value if somebody else has changed the item.
        waits: False for a change that does not wait for the audit trail, because there is at most
            one such change for each item or link.
        """
        lock = self._locks.setdefault(stored.id, asyncio.Lock())
        waited = lock.locked()
        async with lock:
            if waited:
                stored = await self.get(stored.id) or stored
            return await self._change(stored, event, change, waits=waits)

    async def _change(
        self,
        stored: _Stored,
        event: SharingEvent,
        change: Callable[[_Stored], _Stored],
        *,
        waits: bool,
    ) -> _Stored:
        """Like `change`, while no other request of this process changes the item."""
        for attempt in range(_ATTEMPTS_MAX):
            changed = change(stored)
            if changed is stored:
                return stored
            try:
                item = await self._table.update(
                    self.item(stored), self.item(changed), event, waits=waits
                )
            except ConditionNotMet as failed:
                current = None if failed.item is None else self.read(failed.item)
            else:
                return self.read(item)
            if attempt:
                pause_s = min(_PAUSE_S * 2**attempt, _PAUSE_MAX_S)
                await asyncio.sleep(pause_s * random.random())  # noqa: S311 - is no secret
                current = await self.get(stored.id)  # has changed during the pause
            stored = current or stored
        raise Unavailable(
            "The secret is being changed by other requests. Try again.",
            detail="sharing: concurrent changes",
        )

    async def record(self, identifier: str, event: SharingEvent) -> None:
        """Store an event without any other change. See `Table.record`."""
        await self._table.record(self._prefix + identifier, event)

    def item(self, stored: _Stored) -> Item:
        item: Item = builtins(stored)
        return {**item, "id": self._prefix + stored.id, "owner": self._prefix + stored.owner}

    def read(self, item: Item) -> _Stored:
        names = {name: item[name].removeprefix(self._prefix) for name in ("id", "owner")}
        return msgspec.convert({**item, **names}, self._kind)
