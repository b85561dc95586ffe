"""POST /v1/deliveries/{notice}/{target}/retry: tries a dead letter again."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.errors import NotFound


async def retry_delivery(notice: str, target: str, door: Door, caller: Caller) -> None:
    """Try a notice again that was given up, from the first attempt on."""
    now = door.clock.now()
    event = caller.did("delivery.retry", target_type="webhook", target_id=target[:12], at=now, details={"notice_id": notice[:40]})
    if "\0" in notice + target or not await door.notices.revive(notice, target, now=now, event=event):
        raise NotFound("There is no such dead letter")
