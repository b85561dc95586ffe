"""What the endpoints on one key share: its id from the path, and the desk that it is managed from."""

from __future__ import annotations

from gatehouse.core.apikey import key_id
from gatehouse.doors.console.parts import Parts
from gatehouse.errors import NotFound
from gatehouse.flows.step import Changed, Desk
from gatehouse.types import KeyId
from gatehouse.wire.key import key_view
from gatehouse.wire.key_life import ChangedKey


def known_id(text: str) -> KeyId:
    """Raises NotFound for what cannot be the id of a key, as for one that does not exist."""
    found = key_id(text)
    if found is None:
        raise NotFound("There is no key with this id")
    return found


def desk(door: Parts) -> Desk:
    return Desk(store=door.keys, clock=door.clock, bound_s=door.staleness_s)


def changed(done: Changed, door: Parts) -> ChangedKey:
    return ChangedKey(key=key_view(done.key, door.key_prefix), effective=done.effective.value)
