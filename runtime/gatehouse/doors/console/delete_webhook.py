"""DELETE /v1/webhooks/{webhook}: tells a receiver nothing more."""

from __future__ import annotations

from gatehouse.doors.console.caller import Caller, Door
from gatehouse.errors import NotFound


async def delete_webhook(webhook: str, door: Door, caller: Caller) -> None:
    """Delete a webhook, with what still waits for it."""
    event = caller.did("webhook.delete", target_type="webhook", target_id=webhook[:12], at=door.clock.now(), details={})
    if "\0" in webhook or not await door.notices.delete_webhook(webhook, event):
        raise NotFound("There is no webhook with this id")
