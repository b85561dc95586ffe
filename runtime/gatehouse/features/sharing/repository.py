"""Stores secrets in DynamoDB. Each is one item that contains its whole state, such as the links and
their uses, and the unrecorded events.

Every change is one conditional update of one item, which is made only if nobody else has changed
the item since it was read. DynamoDB therefore resolves concurrent changes; those of one process
wait for each other. The service compares the expiry with the current time, and therefore denies
expired items before DynamoDB deletes them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.models import Secret, SharingEvent
from gatehouse.features.sharing.table import ConditionNotMet, Item, Table, builtins

#: Maximum number of attempts for a change that meets other changes of the item, and the bounds of
#: the random pauses between them, which double (AWS Architecture Blog, "Exponential Backoff And
#: Jitter").
_ATTEMPTS_MAX = 20
_PAUSE_S, _PAUSE_MAX_S = 0.02, 1.0


class Repository:
    """Reads and changes secrets. Methods raise Unavailable if DynamoDB cannot be reached."""

    def __init__(self, table: Table) -> None:
        self._table = table
        #: Locks of the items that this process changes.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(self, secret: Secret, event: SharingEvent) -> None:
        """Raises ConditionNotMet if the ID already exists."""
        await self._table.put(builtins(secret), event)

    async def get(self, secret_id: str) -> Secret | None:
        item = await self._table.get(secret_id)
        return None if item is None else read(item)

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Secret], str]:
        """Return the secrets of an owner after a position, newest first, and the last position. See
        `Table.of_owner`.
        """
        items, position = await self._table.of_owner(owner, after=after, size=size)
        return [read(item) for item in items], position

    async def change(
        self,
        secret: Secret,
        event: SharingEvent,
        change: Callable[[Secret], Secret],
        *,
        waits: bool = True,
    ) -> Secret:
        """Store a change with its event, and return the current value.

        secret: the value as it was read.
        change: returns the changed value, or its argument if nothing needs to be changed. Called
            again with the current value if somebody else has changed the item.
        waits: False for a change that does not wait for the audit trail, because there is at most
            one such change for each item or link.
        """
        lock = self._locks.setdefault(secret.id, asyncio.Lock())
        waited = lock.locked()
        async with lock:
            if waited:
                secret = await self.get(secret.id) or secret
            return await self._change(secret, event, change, waits=waits)

    async def _change(
        self,
        secret: Secret,
        event: SharingEvent,
        change: Callable[[Secret], Secret],
        *,
        waits: bool,
    ) -> Secret:
        """Like `change`, while no other request of this process changes the item."""
        for attempt in range(_ATTEMPTS_MAX):
            changed = change(secret)
            if changed is secret:
                return secret
            try:
                before, after = builtins(secret), builtins(changed)
                item = await self._table.update(before, after, event, waits=waits)
            except ConditionNotMet as failed:
                current = None if failed.item is None else read(failed.item)
            else:
                return read(item)
            if attempt:
                pause_s = min(_PAUSE_S * 2**attempt, _PAUSE_MAX_S)
                await asyncio.sleep(pause_s * random.random())  # noqa: S311 - is no secret
                current = await self.get(secret.id)  # has changed during the pause
            secret = current or secret
        raise Unavailable(
            "The secret is being changed by other requests. Try again.",
            detail="sharing: concurrent changes",
        )

    async def record(self, secret_id: str, event: SharingEvent) -> None:
        """Store an event without any other change. See `Table.record`."""
        await self._table.record(secret_id, event)


def read(item: Item) -> Secret:
    return msgspec.convert(item, Secret)
