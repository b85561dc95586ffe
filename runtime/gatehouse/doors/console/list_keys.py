"""GET /v1/keys: the keys, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.doors.console.caller import Door
from gatehouse.doors.console.cursor import Cursors
from gatehouse.store.ports import KeyFilter
from gatehouse.types import KeyId
from gatehouse.wire.key import KeyPage, ListKeys, key_view


async def list_keys(query: Annotated[ListKeys, Query()], door: Door) -> KeyPage:
    """List keys in the order of their ids."""
    only = KeyFilter(
        owner=query.owner,
        state=query.state,
        environment=query.environment,
        tag=query.tag,
        lineage=query.lineage_id,
        expires_within_s=query.expires_within_s,
        unused_for_s=query.unused_for_s,
    )
    cursors = Cursors(door.cursor_pepper, f"keys|{only!r}")
    after = None if query.cursor is None else KeyId(cursors.read(query.cursor))
    page = await door.keys.page(after=after, size=query.limit, only=only)
    return KeyPage(
        keys=[key_view(key, door.key_prefix) for key in page.keys],
        next_cursor=None if page.next_after is None else cursors.write(page.next_after),
    )
