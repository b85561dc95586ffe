"""GET /v1/keys/{id}: one key, revoked or not."""

from __future__ import annotations

from fastapi import Response

from gatehouse.core.apikey import key_id
from gatehouse.doors.console.caller import Door
from gatehouse.errors import NotFound
from gatehouse.wire.key import KeyView, etag, key_view


async def show_key(id: str, door: Door, response: Response) -> KeyView:
    """Show one key. Its ETag is what an update sends back in If-Match."""
    known = key_id(id)
    key = None if known is None else await door.keys.get(known)
    if key is None:
        raise NotFound("There is no key with this id")
    response.headers["ETag"] = etag(key)
    return key_view(key, door.key_prefix)
