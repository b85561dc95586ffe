"""GET /v1/deliveries: notices that wait, were taken, or were given up."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Query

from gatehouse.doors.console.caller import Door
from gatehouse.doors.console.cursor import Cursors
from gatehouse.wire.webhook import DeliveryPage, ListDeliveries, delivery_view


async def list_deliveries(query: Annotated[ListDeliveries, Query()], door: Door) -> DeliveryPage:
    """List deliveries; without a state, the dead letters."""
    cursors = Cursors(door.cursor_pepper, f"deliveries|{query.state}")
    notice_id, target = ("", "") if query.cursor is None else json.loads(cursors.read(query.cursor))
    found = await door.notices.deliveries(state=query.state, after=(notice_id, target), size=query.limit + 1)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return DeliveryPage(
        deliveries=[delivery_view(one) for one in shown],
        next_cursor=cursors.write(json.dumps([shown[-1].notice_id, shown[-1].target])) if more else None,
    )
