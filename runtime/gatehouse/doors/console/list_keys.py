"""GET /v1/keys: the keys, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.doors.console.caller import Door
from gatehouse.doors.console.cursor import Cursors
from gatehouse.types import KeyId
from gatehouse.wire.key import KeyPage, ListKeys, key_view


async def list_keys(query: Annotated[ListKeys, Query()], door: Door) -> KeyPage:
    """List keys in the order of their ids."""
    cursors = Cursors(door.cursor_pepper, f"keys|{query.owner!r}|{query.state!r}")
    after = None if query.cursor is None else KeyId(cursors.read(query.cursor))
    page = await door.keys.page(after=after, size=query.limit, owner=query.owner, state=query.state)
    return KeyPage(
        keys=[key_view(key, door.key_prefix) for key in page.keys],
        next_cursor=None if page.next_after is None else cursors.write(page.next_after),
    )
